package refusal

import (
	"github.com/seed-2b0d76a6/respool/internal/topology"
	"github.com/seed-2b0d76a6/respool/resp"
)

// Verdict is the server's answer about its state after a script's error.
type Verdict uint8

const (
	Confirmed Verdict = iota
	Denied
	Unsure
)

// Question returns the command that queries a server whether it is in the state that a refusal indicates.
func Question(kind topology.Evidence) string {
	if kind == topology.Loading {
		return "PING" // a loading server refuses PING but answers ROLE
	}
	return "ROLE"
}

// VerdictOf reads the reply to Question.
func VerdictOf(frame []byte, kind topology.Evidence) Verdict {
	refusal := resp.ErrorIn(frame)
	if kind == topology.Loading {
		switch {
		case refusal == nil:
			return Denied
		case OfDial(refusal):
			return Confirmed
		}
		return Unsure
	}
	fields, malformed := resp.Elements(frame)
	if refusal != nil || malformed != nil || len(fields) == 0 {
		return Unsure
	}
	switch role, _ := resp.StringOf(fields[0]); string(role) {
	case "slave", "replica":
		return Confirmed
	case "master", "primary":
		return Denied
	}
	return Unsure
}
