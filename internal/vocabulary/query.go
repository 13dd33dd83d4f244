package vocabulary

import (
	"github.com/seed-2b0d76a6/respool/internal/command"
	"github.com/seed-2b0d76a6/respool/resp"
)

// commandQuery returns the query for a name, or for all commands if name is empty. size is the expected size of a
// large reply.
func commandQuery(name string) (args []any, size int) {
	if name == "" {
		return []any{"COMMAND"}, wholeReply / 4
	}
	return []any{"COMMAND", "INFO", name}, 0
}

// telling is the server's answer.
type telling struct {
	refusal *resp.ServerError
	all     *command.Vocabulary // nil if it was unreadable or not queried
	info    *command.Info       // for one name; nil also if the server lacks it
}

// readTelling decodes a reply to COMMAND, or to COMMAND INFO with a name.
func readTelling(name string, reply []byte) (told telling) {
	refusal := resp.ErrorIn(reply)
	switch {
	case refusal != nil:
		told.refusal = refusal
	case name == "":
		told.all, _ = command.ReadVocabulary(reply)
	default:
		told.info, _ = command.ReadInfo(name, reply)
	}
	return told
}
