package gateway

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/seed-2b0d76a6/respool/internal/gateway/observe"
	"github.com/seed-2b0d76a6/respool/resp"
)

// consoleCommands are the subcommands of RESPOOL.
var consoleCommands = []struct {
	name, help    string
	run           func(w *worker, args []string) []byte
	maxArgs       int
	affectsOthers bool // it affects other clients, so it is logged
}{
	{"POOLS", "show the connections to each server and the number of waiting callers", (*worker).consolePools, 0, false},
	{"CLIENTS", "list the clients of the gateway: id, address, user, db, state", (*worker).consoleClients, 0, false},
	{"SERVERS", "show the dials, failures and waits of each server", (*worker).consoleServers, 0, false},
	{"STATS", "show the counters since the start and the mean time of commands", (*worker).consoleStats, 0, false},
	{"SLOW", "[count | RESET] show the newest slow commands, 10 by default, with the time in the queue, at the server, and until the client took the reply", (*worker).consoleSlow, 1, false},
	{"HOT", "[count | RESET] show the keys that are used most, by a sample of 1 in 64 requests", (*worker).consoleHot, 1, false},
	{"BIG", "[count | RESET] show the commands with the largest replies, from 32 KiB on", (*worker).consoleBig, 1, false},
	{"CONFIG", "show the current settings without secrets", (*worker).consoleConfig, 0, false},
	{"PAUSE", "[seconds] hold back all commands until RESUME or for this time (60); commands in flight complete", (*worker).consolePause, 1, true},
	{"RESUME", "end all pauses", (*worker).consoleResume, 0, true},
	{"RECONNECT", "replace the connections to the servers when no reply is pending on them; subscriptions keep theirs", (*worker).consoleReconnect, 0, true},
}

// console executes a RESPOOL command.
func (w *worker) console(ctx context.Context) ([][]byte, error) {
	switch refusal, err := w.permissionError(ctx, probeKill); {
	case err != nil:
		return nil, err
	case refusal != nil:
		return [][]byte{resp.AppendError(nil, "-NOPERM respool: RESPOOL requires the permission to run CLIENT KILL in Redis")}, nil
	}
	raw, err := resp.Elements(w.raw)
	if err != nil {
		return nil, err
	}
	args := make([]string, len(raw))
	for i := range raw {
		text, _ := resp.StringOf(raw[i])
		args[i] = string(text)
	}
	if len(args) < 2 || strings.EqualFold(args[1], "HELP") {
		return [][]byte{consoleHelp()}, nil
	}
	for _, cmd := range consoleCommands {
		if !strings.EqualFold(cmd.name, args[1]) {
			continue
		}
		if len(args)-2 > cmd.maxArgs {
			return [][]byte{resp.AppendError(nil, fmt.Sprintf("respool: RESPOOL %s has %d arguments: want at most %d", cmd.name, len(args)-2, cmd.maxArgs))}, nil
		}
		if cmd.affectsOthers {
			w.logConsole(append([]string{"RESPOOL", cmd.name}, args[2:]...))
		}
		return [][]byte{cmd.run(w, args[2:])}, nil
	}
	return [][]byte{resp.AppendError(nil, fmt.Sprintf("respool: unknown command %q: try RESPOOL HELP", printable([]byte(args[1]))))}, nil
}

// logConsole logs a console command that affects other clients.
func (w *worker) logConsole(command []string) {
	w.c.mu.Lock()
	id, user := w.c.id, w.c.session.Identity().User
	w.c.mu.Unlock()
	w.c.g.settings.Load().Log.Warn("console command", "command", strings.Join(command, " "), "id", id, "addr", w.c.addr, "user", user)
}

func consoleHelp() []byte {
	lines := []string{"RESPOOL <command> controls the gateway. Commands:"}
	for _, cmd := range consoleCommands {
		lines = append(lines, cmd.name, "    "+cmd.help)
	}
	return linesReply(append(lines, "HELP", "    show this text"))
}

// linesReply returns an array of lines, like the HELP of Redis' commands.
func linesReply(lines []string) []byte {
	out := resp.AppendArrayHeader(nil, len(lines))
	for _, line := range lines {
		out = resp.AppendBulkString(out, line)
	}
	return out
}

func (w *worker) consolePools([]string) []byte {
	var lines []string
	for _, n := range w.c.g.engine.Stats().Nodes {
		lines = append(lines, fmt.Sprintf("server=%s sockets=%d limit=%d lanes=%d dedicated=%d subscribed=%d idle=%d dialing=%d closing=%d waiting=%d replies_due=%d",
			n.Addr, n.Sockets(), n.Max, n.Lanes, n.Dedicated, n.Subscribed, n.Idle, n.Dialing, n.Closing, n.Waiting, n.RepliesDue))
	}
	return linesReply(append(w.c.g.serverLines(lines), w.c.g.pauseLines()...))
}

// pauseLines returns a line for each pause that holds back commands now.
func (g *Gateway) pauseLines() (lines []string) {
	for _, text := range g.Pauses() {
		lines = append(lines, fmt.Sprintf("paused=%q", text))
	}
	return lines
}

// serverLines returns lines, one for each server, or the reason why no server is known.
func (g *Gateway) serverLines(lines []string) []string {
	if len(lines) > 0 {
		return lines
	}
	switch s := g.engine.Stats(); {
	case s.Service != nil:
		lines = []string{noServer("no sentinel has replied yet", s.Service.Err)}
	case s.Cluster != nil:
		lines = []string{noServer("no node of the cluster has replied yet", s.Cluster.Err)}
	}
	return lines
}

func noServer(why string, err error) string {
	if err != nil {
		why = strings.TrimPrefix(err.Error(), "respool: ")
	}
	return "no server is known: " + why
}

func (w *worker) consoleServers([]string) []byte {
	var lines []string
	for _, n := range w.c.g.engine.Stats().Nodes {
		line := fmt.Sprintf("server=%s dials=%d dial_failures=%d closed=%d condemned=%d waits=%d waits_in_vain=%d refused=%d longest_wait=%v",
			n.Addr, n.Dials, n.DialFailures, n.Closed, n.FailedLanes, n.Waits, n.FailedWaits, n.Refused, n.LongestWait.Round(time.Millisecond))
		if n.LastDialError != nil {
			line += " last_dial_error=" + strconv.QuoteToASCII(explain(n.LastDialError))
		}
		lines = append(lines, line)
	}
	return linesReply(w.c.g.serverLines(lines))
}

func (w *worker) consoleClients([]string) []byte {
	all := w.c.g.list()
	slices.SortFunc(all, func(a, b *client) int { return int(a.id - b.id) })
	lines := make([]string, 0, len(all))
	for _, c := range all {
		state := c.state()
		waiting, _ := c.out.Waiting()
		c.mu.Lock()
		key := c.session.Identity()
		lines = append(lines, fmt.Sprintf("id=%d addr=%s user=%s db=%d resp=%d name=%s age=%d commands=%d output=%d state=%s",
			c.id, c.addr, key.User, key.DB, key.Proto, c.session.Name(), int64(time.Since(c.connectedAt)/time.Second), c.in.commands, waiting, state))
		c.mu.Unlock()
	}
	return linesReply(lines)
}

func (w *worker) consoleStats([]string) []byte {
	s := w.c.g.Stats()
	lines := []string{
		fmt.Sprintf("clients=%d blocked=%d subscribers=%d pinned=%d", s.Clients, s.Blocked, s.Subscribed, s.Pinned),
		fmt.Sprintf("accepted=%d refused=%d closed=%d slow_closed=%d", s.Accepted, s.Refused, s.Closed, s.SlowClosed),
		fmt.Sprintf("commands=%d errors=%d bytes_in=%d bytes_out=%d buffered=%d", s.Commands, s.Errors, s.BytesIn, s.BytesOut, s.Buffered),
		fmt.Sprintf("mean_queue_time=%s mean_server_time=%s", s.Queue.mean(), s.Server.mean()),
		fmt.Sprintf("turn_waiting=%d turn_waits=%d limit_waits=%d limit_refused=%d", s.TurnWaiting, s.TurnWaits, s.LimitWaits, s.LimitRefused),
	}
	if lines = append(lines, w.c.g.pauseLines()...); !s.Paused {
		lines = append(lines, "paused=no")
	}
	for _, reason := range slices.Sorted(maps.Keys(s.PinnedBy)) {
		lines = append(lines, fmt.Sprintf("pinned_by=%q clients=%d", reason, s.PinnedBy[reason]))
	}
	for _, u := range s.Users {
		lines = append(lines, fmt.Sprintf("user=%s clients=%d max_clients=%s connections=%d max_connections=%s commands_per_second=%s bytes_per_second=%s waits=%d refused=%d",
			u.Name, u.Clients, orNone(u.Limits.MaxClients), u.Connections, orNone(u.Limits.MaxConnections),
			orNone(u.Limits.Rate.Commands), sizeOrNone(u.Limits.Rate.Bytes), u.Waits, u.Refused))
	}
	return linesReply(lines)
}

func (w *worker) consoleConfig([]string) []byte {
	return linesReply(w.c.g.settings.Load().lines())
}

const (
	defaultPause = time.Minute
	longestPause = 24 * time.Hour // a longer pause is likely to be in a wrong unit
)

func (w *worker) consolePause(args []string) []byte {
	d := defaultPause
	if len(args) > 0 {
		seconds, err := strconv.ParseFloat(args[0], 64)
		if err != nil || !(seconds > 0 && seconds <= longestPause.Seconds()) { // both comparisons are false for NaN
			return resp.AppendError(nil, fmt.Sprintf("respool: PAUSE %s: want a number of seconds above 0 and at most %v", printable([]byte(args[0])), longestPause.Seconds()))
		}
		d = time.Duration(seconds * float64(time.Second))
	}
	w.c.g.Pause(d)
	return replyOK
}

func (w *worker) consoleResume([]string) []byte {
	w.c.g.Resume()
	return replyOK
}

func (w *worker) consoleReconnect([]string) []byte {
	w.c.g.engine.Reconnect()
	return replyOK
}

// defaultEntries is the number of entries that SLOW, HOT and BIG show.
const defaultEntries = 10

// entries reads the argument of SLOW, HOT or BIG. If it is RESET, entries calls reset. reply is then the whole reply, and
// also if the argument is invalid.
func (w *worker) entries(name string, args []string, reset func()) (n int, reply []byte) {
	switch {
	case len(args) == 0:
		return defaultEntries, nil
	case strings.EqualFold(args[0], "RESET"):
		w.logConsole([]string{"RESPOOL", name, "RESET"})
		reset()
		return 0, replyOK
	}
	n, err := strconv.Atoi(args[0])
	if err != nil || n < 1 {
		return 0, resp.AppendError(nil, fmt.Sprintf("respool: %s %s: want a number of entries, or RESET", name, printable([]byte(args[0]))))
	}
	return n, nil
}

func (w *worker) consoleSlow(args []string) []byte {
	log := &w.c.g.slow
	n, reply := w.entries("SLOW", args, log.Reset)
	if reply != nil {
		return reply
	}
	lines := []string{}
	for _, e := range log.Newest(n) {
		lines = append(lines, fmt.Sprintf("id=%d at=%s queue=%v server=%v write=%v request=%d reply=%d client=%d addr=%s user=%s command=\"%s\"",
			e.ID, e.At.UTC().Format("2006-01-02T15:04:05.000Z"), e.Queue.Round(time.Microsecond), e.Server.Round(time.Microsecond),
			e.Write.Round(time.Microsecond), e.Request, e.Reply, e.Client, e.Addr, e.User, e.Command))
	}
	return linesReply(lines)
}

func (w *worker) consoleHot(args []string) []byte {
	hot := &w.c.g.hot
	n, reply := w.entries("HOT", args, hot.Reset)
	if reply != nil {
		return reply
	}
	list, total, since := hot.Top(n)
	lines := []string{}
	for _, k := range list {
		lines = append(lines, fmt.Sprintf("key=\"%s\" share=%.1f%% uses=%d at_most_too_many=%d seconds=%d command=%s",
			k.Key, 100*float64(k.Count-k.Error)/float64(total), k.Count*observe.Sample, k.Error*observe.Sample, int64(time.Since(since)/time.Second), k.Command))
	}
	return linesReply(lines)
}

func (w *worker) consoleBig(args []string) []byte {
	big := &w.c.g.big
	n, reply := w.entries("BIG", args, big.Reset)
	if reply != nil {
		return reply
	}
	lines := []string{}
	for _, b := range big.Top(n) {
		lines = append(lines, fmt.Sprintf("largest=%d count=%d bytes=%d last=%s command=\"%s\"",
			b.Largest, b.Count, b.Bytes, b.Last.UTC().Format("2006-01-02T15:04:05Z"), b.Command))
	}
	return linesReply(lines)
}
