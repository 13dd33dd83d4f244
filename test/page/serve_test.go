package page

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

const serveConfig = `url: %s
every: 400ms
list_every: 800ms
actions: true
serve:
  listen: [%s]
  slow_threshold: 10ms
  users:
    default: {}
    reader: {password_sha256: %x, commands: [read]}
    ops: {password_sha256: %x, commands: [admin]}
`

func TestThePageOfAGateway(t *testing.T) {
	s := redistest.Start(t, redistest.Config{})
	gateway, file := testkit.ReserveAddr(t), filepath.Join(t.TempDir(), "respool.yaml")
	hash := sha256.Sum256([]byte("sesame"))
	write(t, file, fmt.Sprintf(serveConfig, s.URL()+"?max_connections=8", gateway, hash, hash))
	url := start(t, "--http", "serve", "-c", file)
	leak := newService(t, gateway, "cart:pod-1:main")
	testkit.Eventually(t, "a client of the gateway", func() bool {
		conn := leak.open()
		if conn != nil {
			conn.Close()
		}
		return conn != nil
	})
	leak.hold(t, 25)
	waiter := newService(t, gateway, evilName).open()
	defer waiter.Close()
	send(waiter, "BLPOP", "nothing", "0")
	watcher := newService(t, gateway, "orders:pod-1:main").open()
	defer watcher.Close()
	if _, err := call(watcher, "WATCH", "k"); err != nil {
		t.Fatal(err)
	}
	hurt(t, leak)
	b := open(t, url)
	t.Run("picture", func(t *testing.T) {
		for _, text := range []string{"sockets ", " of 8", "lanes", "27 of 10,000", "pinned clients: 1 (", "(BLPOP 1)", "queue time", "server time", s.Addr()} {
			b.shows(t, "gateway", text)
		}
		b.choose(t, "gateway")
		b.until(t, "the holders of the gateway", `[...document.querySelectorAll("#holders-table tbody tr")].some((r) => r.cells[0].innerText === "cart" && r.cells[1].innerText === "25")`)
		b.shows(t, "holders-table", evilName)
		b.click(t, `#holders-table button[data-key="group cart"]`)
		b.shows(t, "connections", "respool kill redis://"+gateway+" --service cart")
		b.accessible(t)
		b.shot(t, "serve")
	})
	t.Run("slow commands, hot keys and large replies", func(t *testing.T) {
		b.shows(t, "gateway-slow", "SORT "+evilKey)
		b.shows(t, "gateway-hot", evilKey)
		b.shows(t, "gateway-big", "GET "+evilName)
		b.until(t, "the share of the hot key", `[...document.querySelectorAll("#gateway-hot tbody tr")].some((r) => parseFloat(r.cells[1].innerText) > 30)`)
		if text := b.of(t, "gateway-slow"); !strings.Contains(text, "that took 10ms or longer") || strings.Contains(text, "sesame") {
			t.Error(text)
		}
		if b.text(t, "typeof hacked + document.querySelectorAll('main script, main img, main svg[onload]').length") != "undefined0" {
			t.Error("a script of an attacker ran")
		}
		b.look(t, "dark", 380)
		b.until(t, "page of the width 380", "innerWidth === 380 && document.documentElement.scrollWidth <= 380")
		b.accessible(t)
		b.shot(t, "serve-dark-380")
		b.look(t, "light", 1200)
	})
	t.Run("actions without a login", func(t *testing.T) {
		b.click(t, `#holders-table button[data-key="group orders"]`)
		b.shows(t, "connections", "1 connections now")
		if n := b.text(t, `document.querySelectorAll("main .act.danger").length`); n != "0" {
			t.Errorf("%s buttons close connections", n)
		}
		refuse(t, url)
	})
	t.Run("actions after a login", func(t *testing.T) { act(t, b, s, gateway, url) })
}

// hurt sends slow commands, uses a hot key and receives large replies through a gateway. The names are those of an attacker.
func hurt(t *testing.T, through *service) {
	t.Helper()
	conn := through.open()
	defer conn.Close()
	push := []string{"RPUSH", evilKey}
	for i := range 150_000 {
		push = append(push, fmt.Sprint(i*7919%1_000_003))
	}
	requests := [][]string{push, {"SET", evilName, strings.Repeat("x", 100_000)}}
	for range 2000 {
		requests = append(requests, []string{"LLEN", evilKey})
	}
	for _, args := range append(requests, []string{"SORT", evilKey, "STORE", "sorted"}) { // the last one takes more than 10 ms
		if _, err := call(conn, args...); err != nil {
			t.Fatal(err)
		}
	}
	send(conn, "GET", evilName)
	if _, err := io.ReadFull(conn, make([]byte, 100_000)); err != nil {
		t.Fatal(err)
	}
	operator := through.open()
	defer operator.Close()
	if _, err := call(operator, "AUTH", "ops", "sesame"); err != nil {
		t.Fatal(err)
	}
}

// post sends an action, and returns the status code and the reply.
func post(t *testing.T, url, body string, headers ...string) (int, string) {
	t.Helper()
	q, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	q.Header.Set("Content-Type", "application/json")
	for i := 0; i+1 < len(headers); i += 2 {
		q.Header.Set(headers[i], headers[i+1])
	}
	r, err := http.DefaultClient.Do(q)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	var reply bytes.Buffer
	_, _ = io.Copy(&reply, r.Body)
	return r.StatusCode, reply.String()
}

func refuse(t *testing.T, url string) {
	for _, c := range []struct {
		path, body string
		headers    []string
		want       int
	}{
		{"/page/act", `{"action": "pause", "seconds": 5}`, nil, 401},
		{"/page/act", `{"action": "pause", "seconds": 5}`, []string{"Cookie", "respool_page=guess", "X-CSRF-Token", "guess"}, 401},
		{"/page/act", `{"action": "kill", "node": "gateway", "id": 1, "addr": "127.0.0.1:1"}`, nil, 401},
		{"/page/login", `{"user": "ops", "password": "wrong"}`, nil, 401},
		{"/page/login", `{"user": "reader", "password": "sesame"}`, nil, 401},
		{"/page/login", `{"user": "default", "password": ""}`, nil, 401},
		{"/page/login", `{"user": "ops", "password": "sesame"}`, []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"/page/login", `user=ops&password=sesame`, []string{"Content-Type", "application/x-www-form-urlencoded"}, 403},
	} {
		if code, reply := post(t, url+c.path, c.body, c.headers...); code != c.want {
			t.Errorf("%s %s: %d %s: want %d", c.path, c.body, code, reply, c.want)
		}
	}
}

func act(t *testing.T, b *tab, s *redistest.Server, gateway, url string) {
	b.until(t, "a form", `!document.getElementById("actions").hidden && document.querySelector("form.login")`)
	fill := func(password string) {
		b.text(t, fmt.Sprintf(`((f) => { f.user.value = "ops"; f.password.value = %q; f.requestSubmit(); })(document.querySelector("form.login"))`, password))
	}
	fill("wrong")
	b.shows(t, "outcome", "wrong user or password")
	fill("sesame")
	b.shows(t, "actions-body", "logged in as ops")
	if cookies := b.text(t, "document.cookie"); cookies != "" {
		t.Errorf("scripts see the cookie %s", cookies)
	}
	const bare = `fetch("/page/act", {method: "POST", headers: {"Content-Type": "application/json"%s}, body: JSON.stringify({action: "pause", seconds: 5})}).then((r) => r.status)`
	for _, token := range []string{"", `, "X-CSRF-Token": "guess"`} {
		if code := b.text(t, fmt.Sprintf(bare, token)); code != "403" {
			t.Errorf("an action without the token: %s", code)
		}
	}
	b.click(t, "#pause")
	b.shows(t, "gateway", "PAUSED: commands to the server")
	b.shows(t, "verdict-text", "")
	b.click(t, "#resume")
	b.until(t, "the end of the pause", `!document.getElementById("gateway").innerText.includes("PAUSED")`)
	newService(t, s.Addr(), "victim:pod-1:main").hold(t, 3)
	b.choose(t, s.Addr())
	b.click(t, `#holders-table button[data-key="group victim"]`)
	b.text(t, "window.confirm = () => true")
	b.click(t, `#connections button[data-key="close-group"]`)
	b.shows(t, "outcome", "closed 3 of 3")
	testkit.Eventually(t, "no victim", func() bool { return !strings.Contains(s.Do("CLIENT", "LIST"), "name=victim") })
	// A single connection, of the server and then of the gateway. Nothing happens without the confirmation.
	for _, c := range []struct{ node, addr string }{{s.Addr(), s.Addr()}, {"gateway", gateway}} {
		single := newService(t, c.addr, "single:pod-1:main")
		single.hold(t, 2)
		b.choose(t, c.node)
		b.list(t, "single", 2)
		const one = `#connections tbody button[data-key^="close "]`
		b.text(t, "window.confirm = (text) => { window.question = text; return false; }")
		b.click(t, one)
		b.until(t, "a question", `/^Close the connection of 127.0.0.1:[0-9]+, named single:pod-1:main\?$/.test(window.question)`)
		b.text(t, "window.confirm = () => true")
		b.click(t, one)
		b.shows(t, "outcome", "closed the connection of 127.0.0.1:")
		b.shows(t, "connections", "1 connections now")
		testkit.Await(t, "one connection answers", single.answering, testkit.Is(1))
		b.click(t, `#connections button[data-key="close-group"]`)
		b.shows(t, "outcome", "closed 1 of 1")
		testkit.Await(t, "no connection answers", single.answering, testkit.Is(0))
	}
	b.click(t, "#logout")
	b.until(t, "a form", `document.querySelector("form.login")`)
	if code, _ := post(t, url+"/page/act", `{"action": "resume"}`); code != 401 {
		t.Errorf("an action after the logout: %d", code)
	}
}

func TestAPageWithoutActionsRefusesThem(t *testing.T) {
	url := start(t, "--listen", "watch", redistest.Start(t, redistest.Config{}).URL())
	for _, path := range []string{"/page/login", "/page/act"} {
		if code, reply := post(t, url+path, `{"user": "ops", "password": "sesame", "action": "kill", "key": "x"}`); code != 403 || !strings.Contains(reply, "actions are off") {
			t.Errorf("%s: %d %s", path, code, reply)
		}
	}
}
