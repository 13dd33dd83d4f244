package connect_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/connect"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestTheLogNamesTheReasonForDedicatedConnections(t *testing.T) {
	s := redistest.Start(t, redistest.Config{Users: []string{"app on >sesame ~* +@all -exists"}})
	opt, err := respool.ParseURL(fmt.Sprintf("redis://app:sesame@%s", s.Addr()))
	if err != nil {
		t.Fatal(err)
	}
	log := tooltest.NewLog()
	connect.LogEvents(&opt, slog.New(slog.NewTextHandler(log, nil)))
	c, err := respool.New(opt)
	if err != nil {
		t.Fatal(err)
	}
	defer connect.Close(c)
	for range 2 {
		if r := c.Do(t.Context(), "BLPOP", "jobs", 0.05); !r.IsNil() {
			t.Fatalf("%v: want the end of the timeout", r.Err())
		}
	}
	log.Until(t, `level=WARN msg="the server does not report changes of keys; each blocking command holds a connection: .*respool doctor" server=`+s.Addr()+` error=".*NOPERM`, 1)
}

func TestTheLogHasProblemsOfBlockingCommands(t *testing.T) {
	var text bytes.Buffer
	var seen []respool.EventKind
	opt := respool.Options{OnEvent: func(e respool.Event) { seen = append(seen, e.Kind) }}
	connect.LogEvents(&opt, slog.New(slog.NewTextHandler(&text, nil)))
	opt.OnEvent(respool.Event{Kind: respool.EventBlockingShared, Addr: "r:1"})
	opt.OnEvent(respool.Event{Kind: respool.EventElementsLost, Addr: "r:1", Reason: "an element could not return to its key jobs", Err: errors.New("WRONGTYPE no")})
	opt.OnEvent(respool.Event{Kind: respool.EventDialed})
	for _, want := range []string{
		`level=INFO msg="the server reports changes of keys again; blocking commands share connections" server=r:1`,
		`level=ERROR msg="elements of a blocking command are lost" server=r:1 reason="an element could not return to its key jobs" error="WRONGTYPE no"`,
	} {
		if !strings.Contains(text.String(), want) {
			t.Errorf("no %s in\n%s", want, text.String())
		}
	}
	if n := strings.Count(text.String(), "\n"); n != 2 || len(seen) != 3 {
		t.Errorf("%d lines for the events, and %v passed on: want 2 and 3", n, seen)
	}
}
