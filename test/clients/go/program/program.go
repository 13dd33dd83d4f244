// Package program is what the Go programs share: arguments, the report's lines and
// the time limit. It knows no client library.
package program

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/goredis"
)

// Limit is how long a program may take.
const Limit = 60 * time.Second

// Args are what a program is started with.
type Args struct {
	Addr           string
	Protocol       int
	User, Password string // empty: the part on users is left out
	Cluster        bool   // the server is a cluster that appears as one server
	// Dial, if set, makes connections in memory that share a few to the server.
	Dial func(ctx context.Context, network, addr string) (net.Conn, error)
}

// Run runs a program and ends the process, with an error's text if there is one.
func Run(body func(context.Context, Args) error) {
	args, shared, err := parse(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	time.AfterFunc(Limit, func() {
		fmt.Fprintln(os.Stderr, "not done after", Limit)
		os.Exit(3)
	})
	run := body
	if shared {
		run = func(ctx context.Context, args Args) error { return share(ctx, args, body) }
	}
	if err := run(context.Background(), args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// share runs body over connections in memory.
func share(ctx context.Context, args Args, body func(context.Context, Args) error) error {
	client, err := respool.Open(ctx, "redis://"+args.Addr+"?max_connections=8")
	if err != nil {
		return err
	}
	dialer, err := goredis.New(client)
	if err != nil {
		return err
	}
	args.Dial = dialer.DialContext
	return errors.Join(body(ctx, args), dialer.Close(ctx), client.Close(ctx))
}

// parse reads the arguments; shared says that connections are made in memory.
func parse(words []string) (a Args, shared bool, err error) {
	usage := fmt.Errorf("usage: %s HOST PORT 2|3 [--auth USER:PASSWORD] [--cluster] [--dialer]", os.Args[0])
	if i := slices.Index(words, "--dialer"); i >= 0 {
		shared = true
		words = slices.Delete(words, i, i+1)
	}
	if i := slices.Index(words, "--cluster"); i >= 0 {
		a.Cluster = true
		words = slices.Delete(words, i, i+1)
	}
	var login string
	if i := slices.Index(words, "--auth"); i >= 0 && i+1 < len(words) {
		login = words[i+1]
		words = slices.Delete(words, i, i+2)
	}
	if len(words) != 3 || words[2] != "2" && words[2] != "3" {
		return Args{}, false, usage
	}
	a.Addr, a.Protocol = net.JoinHostPort(words[0], words[1]), int(words[2][0]-'0')
	a.User, a.Password, _ = strings.Cut(login, ":")
	return a, shared, nil
}

// Say prints a line of the report.
func Say(section string, values ...any) {
	var b strings.Builder
	b.WriteString(section)
	b.WriteByte(':')
	for _, v := range values {
		b.WriteByte(' ')
		b.WriteString(text(v))
	}
	fmt.Println(b.String())
}

func text(v any) string {
	switch v := v.(type) {
	case error:
		return "(" + v.Error() + ")"
	case string, []byte, []string:
		return fmt.Sprintf("%q", v)
	case []any:
		texts := make([]string, len(v))
		for i, element := range v {
			texts[i] = text(element)
		}
		return "[" + strings.Join(texts, " ") + "]"
	}
	return fmt.Sprintf("%+v", v)
}

// Value is what came, a reply or an error.
func Value[T any](v T, err error) any {
	if err != nil {
		return err
	}
	return v
}

// Big is a value of 64 MiB with every byte in it, the same in each run.
func Big() string {
	var every [256]byte
	for i := range every {
		every[i] = byte(i)
	}
	return strings.Repeat(string(every[:]), 64<<20/len(every))
}

// Digest is the SHA-256 of a value.
func Digest(value string) string {
	sum := sha256.Sum256([]byte(value))
	return hex.EncodeToString(sum[:])
}

// Set reports how many different names there are, and their digest.
func Set(section string, names []string) {
	names = slices.Clone(names)
	slices.Sort(names)
	names = slices.Compact(names)
	Say(section, len(names), Digest(strings.Join(names, "\n")))
}

// Until waits for something that the server tells.
func Until(what string, holds func() bool) error {
	for end := time.Now().Add(10 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("%s does not come", what)
		}
	}
	return nil
}

// Concurrent runs 200 goroutines of ten increments and reports whether each number came
// once, and to each goroutine in order.
func Concurrent(incr func() (int64, error)) {
	const tasks, each = 200, 10
	got := make([][]int64, tasks)
	errs := make([]error, tasks)
	var wg sync.WaitGroup
	for i := range tasks {
		wg.Go(func() {
			for range each {
				n, err := incr()
				if err != nil {
					errs[i] = err
					return
				}
				got[i] = append(got[i], n)
			}
		})
	}
	wg.Wait()
	rising := true
	for i := range tasks {
		if errs[i] != nil {
			Say("concurrent", errs[i])
		}
		rising = rising && slices.IsSorted(got[i])
	}
	all := slices.Sorted(slices.Values(slices.Concat(got...)))
	whole := len(all) == tasks*each && all[0] == 1 && all[len(all)-1] == tasks*each && len(slices.Compact(all)) == tasks*each
	Say("concurrent", whole, rising)
}
