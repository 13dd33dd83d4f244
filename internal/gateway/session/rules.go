package session

import "github.com/seed-2b0d76a6/respool/internal/command"

// inMulti says what becomes of a command between MULTI and EXEC.
type inMulti uint8

const (
	queued  inMulti = iota // sent to the server with the others
	atOnce                 // carried out at once
	ownWord                // queued, but answered by the session when EXEC has run
	never                  // refused, which spoils the transaction
)

// policy says who may send a command.
type policy uint8

const (
	free policy = iota
	operator
	nobody
)

// rule is what the session knows of a command beyond the command table.
type rule struct {
	run    func(*Session, request) Step // nil: as the command's class says
	multi  inMulti
	policy policy
}

// byName lists the commands that are more than ordinary. A container stands for the
// subcommands that the command table lacks.
var byName = map[string]rule{
	"PING":      {run: (*Session).ping},
	"ECHO":      {run: (*Session).echo},
	"QUIT":      {run: (*Session).quit, multi: atOnce},
	"RESET":     {run: (*Session).reset, multi: atOnce},
	"SELECT":    {run: (*Session).selectDB},
	"AUTH":      {run: (*Session).auth, multi: never},
	"HELLO":     {run: (*Session).helloCommand, multi: ownWord},
	"READONLY":  {run: (*Session).clusterMode, multi: ownWord},
	"READWRITE": {run: (*Session).clusterMode, multi: ownWord},
	"ASKING":    {run: (*Session).clusterMode, multi: ownWord},

	"MULTI":   {run: (*Session).multiCommand, multi: atOnce},
	"EXEC":    {run: (*Session).exec, multi: atOnce},
	"DISCARD": {run: (*Session).discard, multi: atOnce},
	"WATCH":   {run: (*Session).watch, multi: atOnce},
	"UNWATCH": {run: (*Session).unwatch},

	"SUBSCRIBE":    {run: (*Session).subscribe, multi: never},
	"PSUBSCRIBE":   {run: (*Session).subscribe, multi: never},
	"SSUBSCRIBE":   {run: (*Session).subscribe, multi: never},
	"UNSUBSCRIBE":  {run: (*Session).unsubscribe, multi: never},
	"PUNSUBSCRIBE": {run: (*Session).unsubscribe, multi: never},
	"SUNSUBSCRIBE": {run: (*Session).unsubscribe, multi: never},

	"MONITOR":      {run: (*Session).monitorCommand, multi: never},
	"SCRIPT DEBUG": {run: (*Session).scriptDebug, multi: never},
	"WAIT":         {run: (*Session).wait},
	"WAITAOF":      {run: (*Session).wait},
	// The server reads nothing more from the conn of a script until it has ended.
	"SCRIPT KILL":    {run: (*Session).holdInAnyDB},
	"FUNCTION KILL":  {run: (*Session).holdInAnyDB},
	"FUNCTION STATS": {run: (*Session).holdInAnyDB},

	"CLIENT":         {},
	"CLIENT ID":      {run: (*Session).clientID, multi: ownWord},
	"CLIENT SETNAME": {run: (*Session).clientSetName, multi: ownWord},
	"CLIENT GETNAME": {run: (*Session).clientGetName, multi: ownWord},
	"CLIENT SETINFO": {run: (*Session).clientSetInfo, multi: ownWord},
	"CLIENT CAPA":    {run: (*Session).clientCapa, multi: ownWord},
	// It would make the server take a lane for a source of imported keys.
	"CLIENT IMPORT-SOURCE": {policy: nobody},
	"CLIENT NO-EVICT":      {run: (*Session).clientNoEvict, multi: ownWord},
	"CLIENT NO-TOUCH":      {run: (*Session).clientNoTouch, multi: ownWord},
	"CLIENT GETREDIR":      {run: (*Session).clientGetRedir, multi: ownWord},
	"CLIENT TRACKINGINFO":  {run: (*Session).clientTrackingInfo, multi: ownWord},
	"CLIENT REPLY":         {run: (*Session).clientReply, multi: never},
	"CLIENT TRACKING":      {run: (*Session).clientTracking, multi: never},
	"CLIENT CACHING":       {run: (*Session).clientCaching, multi: never},
	"CLIENT INFO":          {run: (*Session).clientInfo, multi: never},
	"CLIENT LIST":          {run: (*Session).clientList, multi: never},
	"CLIENT KILL":          {run: (*Session).clientKill, multi: never},
	"CLIENT UNBLOCK":       {run: (*Session).clientUnblock, multi: never},
	"CLIENT PAUSE":         {run: (*Session).clientPause, multi: never, policy: operator},
	"CLIENT UNPAUSE":       {run: (*Session).clientUnpause, multi: never, policy: operator},

	// DEBUG may change its conn.
	"DEBUG":  {run: (*Session).onceDestroyed, multi: never, policy: operator},
	"CONFIG": {policy: operator},
	// Its pattern decides: see asksForSecrets.
	"CONFIG GET": {},
	// They show hashes of passwords.
	"ACL LIST":    {policy: operator},
	"ACL GETUSER": {policy: operator},
	"MODULE":      {policy: operator},
	"ACL":         {policy: operator},

	"SYNC":           {policy: nobody},
	"PSYNC":          {policy: nobody},
	"REPLCONF":       {policy: nobody},
	"SHUTDOWN":       {policy: nobody},
	"RESTORE-ASKING": {policy: nobody},
	"SENTINEL":       {policy: nobody},
	"CLUSTER":        {policy: nobody},
}

// rules holds byName, and the operator's commands beside, for a quick look. Nobody changes it.
var rules = makeRules()

func makeRules() map[*command.Info]*rule {
	m := make(map[*command.Info]*rule)
	container := policy(free)
	for info := range command.All() {
		r, listed := byName[info.Name]
		switch {
		case info.Container():
			container = r.policy
		case listed:
		case isSubcommandOf(info, "SENTINEL"):
			r, listed = rule{policy: nobody}, true
		case info.Admin && !info.ReadOnly:
			r, listed = rule{policy: max(operator, subcommandPolicy(info, container))}, true
		}
		if listed {
			m[info] = &r
		}
	}
	return m
}

// subcommandPolicy is the container's, if info is a subcommand.
func subcommandPolicy(info *command.Info, container policy) policy {
	for i := range len(info.Name) {
		if info.Name[i] == ' ' {
			return container
		}
	}
	return free
}

func isSubcommandOf(info *command.Info, container string) bool {
	return len(info.Name) > len(container) && info.Name[:len(container)] == container && info.Name[len(container)] == ' '
}

// consoleInfo and consoleRule are RESPOOL's, which no server knows.
var (
	consoleInfo = &command.Info{Name: "RESPOOL", Arity: -1, Class: command.Stateful}
	consoleRule = &rule{run: (*Session).console, multi: never}
)

func (s *Session) console(r request) Step {
	return Step{Kind: Console, Barrier: true, Raw: r.raw, Info: r.info}
}
