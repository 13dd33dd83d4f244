package command

// Answers says how many replies a server gives to a command.
type Answers uint8

const (
	// Once is one reply, whatever the server's state and whatever the command's fate.
	Once Answers = iota
	// OnceAlone is one reply if no other one is pending on the connection. Among others
	// there may be none: servers from 7.2 on drop the refusal of a login there.
	OnceAlone
	// Varying is none, or several, or a stream.
	Varying
)

// Answers is what servers of all versions do, at worst. Where it is not Once the command's class
// keeps it off connections that callers share. A subcommand that the table lacks is judged by
// its container.
func (i *Info) Answers() Answers {
	switch i.Name {
	case "AUTH", "HELLO":
		return OnceAlone
	case "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE", "PUNSUBSCRIBE", "SUNSUBSCRIBE", // one for each name
		"MONITOR", "SYNC", "PSYNC", "REPLCONF", "CLUSTER", // a stream; none to a second MONITOR, or to an ACK
		"CLIENT", "CLIENT REPLY", // none while replies are off
		"SCRIPT", "SCRIPT DEBUG", // scripts that are debugged have several
		"SHUTDOWN", "DEBUG": // none if they end the server
		return Varying
	}
	return Once
}
