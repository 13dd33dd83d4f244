package main

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// twemproxy and others close the connection in reply to a command that they lack.
func TestAProxyThatLacksCommandsOfTheToolIsNamed(t *testing.T) {
	f := fakeserver.Start(t, fakeserver.Config{Answer: func(c *fakeserver.Conn, args []string) (string, bool) {
		switch strings.ToUpper(args[0]) {
		case "HELLO":
			return "-ERR unknown command\r\n", true
		case "INFO", "CLIENT":
			c.Close()
			return "", true
		}
		return "", false
	}})
	for _, args := range [][]string{{"doctor"}, {"who"}, {"top", "--for", "1s"}, {"kill", "--idle", "1h"}} {
		code, out, errs := call(t, append(args, "redis://"+f.Addr())...)
		if code != exitFailed || !strings.Contains(out+errs, "in reply to") || !strings.Contains(out+errs, "a proxy that lacks the command") || strings.Contains(out+errs, "executed") {
			t.Errorf("%v: exit %d: %s%s", args, code, out, errs)
		}
	}
}
