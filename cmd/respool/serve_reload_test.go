package main

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/redistest"
)

func TestAReloadKeepsClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	file := written(t, "respool.yaml", "url: "+s.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n  users:\n    app: {password_sha256: "+hashOfSecret+"}\n")
	r := served(t, &serveCmd{Config: file})
	old := talkTo(t, "tcp", r.at(t, 1))
	old.do("-NOAUTH", "GET", "k")
	old.do("-WRONGPASS", "AUTH", "app", "wrong")
	old.do("+OK", "AUTH", "app", "secret")
	old.do("+OK", "SET", "k", "v")

	// Another password, while both are needed no more.
	rewrite(t, file, hashOfSecret, hashOfPassword)
	r.reload(t, "in force")
	fresh := talkTo(t, "tcp", r.at(t, 1))
	fresh.do("-WRONGPASS", "AUTH", "app", "secret")
	fresh.do("+OK", "AUTH", "app", "password")
	fresh.do("v", "GET", "k")
	old.do("", "PING") // whether it has to name itself anew is the gateway's business; it is there

	// A mistake changes nothing.
	rewrite(t, file, "  users:", "  usres:")
	r.reload(t, "the configuration is refused, the old one kept")
	r.log.until(t, `serve.usres: unknown key`, 1)
	fresh.do("v", "GET", "k")
	rewrite(t, file, "  usres:", "  users:")

	// The URL stays, and that is said.
	rewrite(t, file, "url: "+s.URL(), "url: redis://127.0.0.1:1")
	r.reload(t, "the URL is not changed while clients are served")
	r.log.until(t, "in force", 2)
	fresh.do("+OK", "SET", "k", "w")
	if got := s.Do("GET", "k"); got != "w" {
		t.Error(got)
	}
}

func TestAReloadOpensAndClosesListeners(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	path := filepath.Join(shortDir(t), "s")
	file := written(t, "respool.yaml", "url: "+s.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")
	r := served(t, &serveCmd{Config: file})
	old := talkTo(t, "tcp", r.at(t, 1))
	old.do("+PONG", "PING")

	rewrite(t, file, "['127.0.0.1:0']", "['127.0.0.1:0', {address: 'unix://"+path+"', mode: 0600}]")
	r.reload(t, "in force")
	r.log.until(t, "msg=serving", 2)
	byPath := talkTo(t, "unix", path)
	byPath.do("+PONG", "PING")
	wantPermissions(t, path, 0o600)

	rewrite(t, file, "mode: 0600", "mode: 0660")
	r.reload(t, "in force")
	wantPermissions(t, path, 0o660)

	// One that can't be opened changes nothing, not even the rest.
	rewrite(t, file, "'127.0.0.1:0', ", "'"+s.PlainAddr()+"', ")
	r.reload(t, "address already in use")
	talkTo(t, "tcp", r.at(t, 1)).do("+PONG", "PING")
	rewrite(t, file, "'"+s.PlainAddr()+"', ", "")

	// Whoever came through a door that is closed now stays.
	r.reload(t, "in force")
	r.log.until(t, `not listening any more" at=127.0.0.1:0`, 1)
	if conn, err := net.Dial("tcp", r.at(t, 1)); err == nil {
		conn.Close()
		t.Error("it listens still")
	}
	old.do("+PONG", "PING")
	byPath.do("+PONG", "PING")
	r.page(t, "/readyz", 200)
}

func TestAReloadMovesThePages(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free := l.Addr().String()
	l.Close()
	cmd := &serveCmd{URL: s.URL(), Listen: []string{"127.0.0.1:0"}}
	r := served(t, cmd)
	r.page(t, "/readyz", 200)
	cmd.HTTP = free // as if a file said so: it is read by who gets the signal
	r.reload(t, "in force")
	r.log.until(t, `msg=pages at=http://`+free, 1)
}

// shortDir is a directory for sockets, whose paths may have 100 bytes or so.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "rs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func wantPermissions(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode || info.Mode().Type() != os.ModeSocket {
		t.Errorf("%v, %v: want %v", info, err, mode)
	}
}

func TestAUnixSocketHasItsModeAndGoesWithTheGateway(t *testing.T) {
	dir := shortDir(t)
	path := filepath.Join(dir, "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close() // as a killed process leaves it
	r := served(t, &serveCmd{Listen: []string{"unix://" + path + "?mode=0640"}})
	wantPermissions(t, path, 0o640)
	talkTo(t, "unix", path).do("+PONG", "PING")
	if text := r.out.String(); !strings.Contains(text, "  unix://"+path+" (mode 0640)\n") || !strings.Contains(text, "try: redis-cli -s "+path) {
		t.Error(text)
	}
	talkTo(t, "unix", path).do("id=2 addr="+path+":0 laddr="+path+":0 ", "CLIENT", "LIST", "ID", "2")
	code, _, errs := call(t, "serve", "--http", "off", "--listen", "unix://"+path)
	if code != 2 || !strings.Contains(errs, "another process listens at "+path) {
		t.Errorf("exit %d: %s", code, errs)
	}
	talkTo(t, "unix", path).do("+PONG", "PING")
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("%v, %v", names, err)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if code, _, errs := call(t, "serve", "--http", "off", "--listen", "unix://"+path); code != 2 || !strings.Contains(errs, path+" is there and no socket: want another path") {
		t.Errorf("exit %d: %s", code, errs)
	}
}
