package command

// Answers is the number of replies to a command.
type Answers uint8

const (
	// Once is exactly one reply, whatever the server's state and the command's outcome.
	Once Answers = iota
	// OnceAlone is one reply if no other reply is pending on the connection. Among others there may be none: servers
	// from 7.2 on drop the refusal of a login there.
	OnceAlone
	// Varying is no reply, several replies, or a stream.
	Varying
)

// Answers returns the worst case of all server versions. A command that is not Once has a class that keeps it off
// shared connections. A subcommand that the table lacks counts as its container.
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
