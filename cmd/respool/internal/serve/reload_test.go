package serve

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/relay"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/tooltest"
	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

func TestAReloadKeepsClients(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	file := tooltest.File(t, "respool.yaml", "url: "+s.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n  users:\n    app: {password_sha256: "+tooltest.HashOfSecret+"}\n")
	r := served(t, &Flags{Config: file})
	old := tooltest.Dial(t, "tcp", r.at(t, 1))
	old.Do("-NOAUTH", "GET", "k")
	old.Do("-WRONGPASS", "AUTH", "app", "wrong")
	old.Do("+OK", "AUTH", "app", "secret")
	old.Do("+OK", "SET", "k", "v")

	// The password changes.
	tooltest.Rewrite(t, file, tooltest.HashOfSecret, tooltest.HashOfPassword)
	r.reload(t, "configuration is active")
	fresh := tooltest.Dial(t, "tcp", r.at(t, 1))
	fresh.Do("-WRONGPASS", "AUTH", "app", "secret")
	fresh.Do("+OK", "AUTH", "app", "password")
	fresh.Do("v", "GET", "k")
	old.Do("", "PING") // whether it has to name itself anew is the gateway's business; it is there

	// A mistake changes nothing.
	tooltest.Rewrite(t, file, "  users:", "  usres:")
	r.reload(t, "the new configuration is invalid; the old one stays")
	r.log.Until(t, `serve.usres: unknown key`, 1)
	fresh.Do("v", "GET", "k")
	tooltest.Rewrite(t, file, "  usres:", "  users:")

	// A URL that does not work changes nothing.
	tooltest.Rewrite(t, file, "url: "+s.URL(), "url: redis://127.0.0.1:1")
	r.reload(t, "the new configuration is invalid; the old one stays")
	r.log.Until(t, "the new URL was tried: dial 127.0.0.1:1", 1)
	fresh.Do("+OK", "SET", "k", "w")
	if got := s.Do("GET", "k"); got != "w" {
		t.Error(got)
	}
}

func TestAReloadOpensAndClosesListeners(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	path := filepath.Join(tooltest.ShortDir(t), "s")
	file := tooltest.File(t, "respool.yaml", "url: "+s.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")
	r := served(t, &Flags{Config: file})
	old := tooltest.Dial(t, "tcp", r.at(t, 1))
	old.Do("+PONG", "PING")

	tooltest.Rewrite(t, file, "['127.0.0.1:0']", "['127.0.0.1:0', {address: 'unix://"+path+"', mode: 0600}]")
	r.reload(t, "configuration is active")
	r.log.Until(t, "msg=serving", 2)
	byPath := tooltest.Dial(t, "unix", path)
	byPath.Do("+PONG", "PING")
	wantPermissions(t, path, 0o600)

	tooltest.Rewrite(t, file, "mode: 0600", "mode: 0660")
	r.reload(t, "configuration is active")
	wantPermissions(t, path, 0o660)

	// A listener that cannot be opened prevents the whole change.
	tooltest.Rewrite(t, file, "'127.0.0.1:0', ", "'"+s.PlainAddr()+"', ")
	r.reload(t, "address already in use")
	tooltest.Dial(t, "tcp", r.at(t, 1)).Do("+PONG", "PING")
	tooltest.Rewrite(t, file, "'"+s.PlainAddr()+"', ", "")

	// Clients of a listener that is closed stay connected.
	r.reload(t, "configuration is active")
	r.log.Until(t, `stopped listening" at=127.0.0.1:0`, 1)
	if conn, err := net.Dial("tcp", r.at(t, 1)); err == nil {
		conn.Close()
		t.Error("it listens still")
	}
	old.Do("+PONG", "PING")
	byPath.Do("+PONG", "PING")
	r.page(t, "/readyz", 200)
}

func TestAReloadMovesThePages(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	free := testkit.ReserveAddr(t)
	flags := &Flags{URL: s.URL(), Listen: []string{"127.0.0.1:0"}}
	r := served(t, flags)
	r.page(t, "/readyz", 200)
	r.flags.HTTP = free // as if a file said so: it is read by who gets the signal
	r.reload(t, "configuration is active")
	r.log.Until(t, `msg=pages at=http://`+free, 1)
}

// The socket for respool kill opens, changes its mode, moves and closes at a reload.
func TestAReloadMovesTheSocket(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	dir := tooltest.ShortDir(t)
	first, second := filepath.Join(dir, "a"), filepath.Join(dir, "b")
	file := tooltest.File(t, "respool.yaml", "url: "+s.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")
	r := served(t, &Flags{Config: file})
	ask := func(path string) error {
		c, err := relay.NewClient("http+unix://" + path)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_, err = c.Connections(t.Context(), false)
		return err
	}
	change := func(old, new string) {
		t.Helper()
		tooltest.Rewrite(t, file, old, new)
		r.reload(t, "configuration is active")
	}
	change("tell: []\n", "tell: []\nsocket: 'unix://"+first+"'\n")
	testkit.Eventually(t, "the watch has found the server", func() bool { return ask(first) == nil })
	wantPermissions(t, first, 0o600)
	change("unix://"+first, "unix://"+first+"?mode=0660")
	wantPermissions(t, first, 0o660)
	if err := ask(first); err != nil {
		t.Error(err)
	}
	change("unix://"+first+"?mode=0660", "unix://"+second)
	if err := ask(second); err != nil {
		t.Error(err)
	}
	if err := ask(first); err == nil || !strings.Contains(err.Error(), "want the address of a running respool watch or respool serve") {
		t.Errorf("%v: want the old socket closed", err)
	}
	// A socket that cannot be opened changes nothing.
	tooltest.Rewrite(t, file, "unix://"+second, "unix://"+filepath.Join(dir, "none", "c"))
	r.reload(t, "the new configuration is invalid; the old one stays")
	if err := ask(second); err != nil {
		t.Error(err)
	}
	change("socket: 'unix://"+filepath.Join(dir, "none", "c")+"'\n", "")
	if err := ask(second); err == nil {
		t.Error("the socket is open still")
	}
	if names, err := os.ReadDir(dir); err != nil || len(names) != 0 {
		t.Errorf("%v, %v: want no socket left", names, err)
	}
}

func wantPermissions(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != mode || info.Mode().Type() != os.ModeSocket {
		t.Errorf("%v, %v: want %v", info, err, mode)
	}
}

func TestAUnixSocketHasItsModeAndGoesWithTheGateway(t *testing.T) {
	dir := tooltest.ShortDir(t)
	path := filepath.Join(dir, "s")
	left, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	left.SetUnlinkOnClose(false)
	left.Close() // as a killed process leaves it
	r := served(t, &Flags{Listen: []string{"unix://" + path + "?mode=0640"}})
	wantPermissions(t, path, 0o640)
	tooltest.Dial(t, "unix", path).Do("+PONG", "PING")
	if text := r.out.String(); !strings.Contains(text, "  unix://"+path+" (mode 0640)\n") || !strings.Contains(text, "try: redis-cli -s "+path) {
		t.Error(text)
	}
	tooltest.Dial(t, "unix", path).Do("id=2 addr="+path+":0 laddr="+path+":0 ", "CLIENT", "LIST", "ID", "2")
	if err := notServed(t, &Flags{HTTP: "off", Listen: []string{"unix://" + path}}); err == nil || !strings.Contains(err.Error(), "another process already listens at "+path) {
		t.Error(err)
	}
	tooltest.Dial(t, "unix", path).Do("+PONG", "PING")
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
	if err := notServed(t, &Flags{HTTP: "off", Listen: []string{"unix://" + path}}); err == nil || !strings.Contains(err.Error(), path+" exists and is not a socket: want another path") {
		t.Error(err)
	}
}

// A server that accepts connections and never replies holds up the reload, and neither the clients nor the end.
func TestASignalEndsAReload(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	file := tooltest.File(t, "respool.yaml", "url: "+s.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n  drain: 100ms\n")
	r := served(t, &Flags{Config: file})
	client := tooltest.Dial(t, "tcp", r.at(t, 1))
	client.Do("+OK", "SET", "k", "v")
	tooltest.Rewrite(t, file, "url: "+s.URL(), "url: redis://"+silent.Addr().String()+"?socket_connect_timeout=300")
	r.hup <- syscall.SIGHUP
	conn, err := silent.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client.Do("v", "GET", "k")
	r.stop <- os.Interrupt
	if err := r.ended(); err != nil {
		t.Error(err)
	}
	r.log.Until(t, "stopping during a reload: the new configuration is not used", 1)
}

// After a change of the address, SELECT knows the databases of the new server.
func TestANewAddressHasItsOwnDatabases(t *testing.T) {
	many, few := redistest.Start(t, redistest.Config{}), redistest.Start(t, redistest.Config{Args: []string{"--databases", "3"}})
	file := tooltest.File(t, "respool.yaml", "url: "+many.URL()+"\ntell: []\nserve:\n  listen: ['127.0.0.1:0']\n")
	r := served(t, &Flags{Config: file})
	client := tooltest.Dial(t, "tcp", r.at(t, 1))
	client.Do("+OK", "SELECT", "5")
	client.Do("+OK", "SELECT", "0")
	for _, change := range []struct{ from, to, want string }{{many.URL(), few.URL(), "-ERR DB index is out of range"}, {few.URL(), many.URL(), "+OK"}} {
		tooltest.Rewrite(t, file, change.from, change.to)
		r.reload(t, "configuration is active")
		client.Do(change.want, "SELECT", "5")
		client.Do("+OK", "SELECT", "2")
	}
}
