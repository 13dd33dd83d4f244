package main

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit/fakeserver"
)

// If a server refuses a command of the tool, the tool reports why and does not keep dialing.
func TestCommandsOfTheToolDialAServerThatRefusesThemSeldom(t *testing.T) {
	s := fakeserver.Start(t, fakeserver.Config{Password: "theirs"})
	url := "redis://:ours@" + s.Addr()
	for _, args := range [][]string{
		{"ping", url}, {"doctor", url}, {"who", url}, {"kill", url, "--name", "nobody", "--yes"}, {"demo", "--url", url},
	} {
		t.Run(args[0], func(t *testing.T) {
			before := s.Accepted()
			code, _, errs := call(t, args...)
			dials := s.Accepted() - before
			if code == 0 || !strings.Contains(errs, "WRONGPASS") {
				t.Errorf("exit %d: %s", code, errs)
			}
			if dials < 1 || dials > 4 {
				t.Errorf("%d dials: want 1 to 4", dials)
			}
		})
	}
}
