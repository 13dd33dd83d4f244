package page

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
	"github.com/seed-2b0d76a6/respool/internal/testkit/redistest"
)

// Names of an attacker.
const (
	evilName = "<script>hacked=1</script>"
	evilUser = "<img/src=x/onerror=hacked=1>"
	evilKey  = "<svg/onload=hacked=1>"
)

// trial is a server in trouble, and the watch that shows it.
type trial struct {
	server *redistest.Server
	url    string
	leak   *service
}

func newTrial(t *testing.T) *trial {
	s := redistest.Start(t, redistest.Config{MaxClients: 300})
	tr := &trial{server: s, leak: newService(t, s.Addr(), "cart:pod-1:main")}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "plan.yaml"), "server: {maxclients: 300}\nservices:\n  orders: {pods: 1, surge: 0, max_connections: 40}\n  cart: {pods: 1, surge: 0, max_connections: 5}\n")
	write(t, filepath.Join(dir, "respool.yaml"), fmt.Sprintf("url: %s\nevery: 400ms\nlist_every: 800ms\nplan: %s\n"+
		"rules: {ceiling: {for: 0, keep: 0}, buffers: {for: 0}, slow-command: {for: 0}, down: {for: 0, keep: 0}}\n"+
		"tell: [log, {webhook: {url: 'http://%s/'}}]\n", s.URL(), filepath.Join(dir, "plan.yaml"), testkit.ReserveAddr(t)))
	newService(t, s.Addr(), "orders:pod-1:main").hold(t, 30)
	tr.leak.hold(t, 20)
	storm := newService(t, s.Addr(), "search:pod-1:main")
	var last net.Conn // stays until the next one, so that each list of clients has one
	next := func(conn net.Conn) {
		if last != nil {
			last.Close()
		}
		last = conn
	}
	t.Cleanup(func() { next(nil) })
	background(t, 10*time.Millisecond, func() {
		conn := storm.open()
		if conn != nil {
			_, _ = call(conn, "GET", "k")
		}
		next(conn)
	})
	tr.url = start(t, "--listen", "watch", "-c", filepath.Join(dir, "respool.yaml"))
	return tr
}

func write(t *testing.T, file, text string) {
	t.Helper()
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestThePageOfAWatch(t *testing.T) {
	tr := newTrial(t)
	t.Run("the sections are in order", func(t *testing.T) {
		b := open(t, tr.url)
		want := "Occupancy|Who holds the connections|Findings|Churn|Heavy|Alerts|Plan against actual|Nodes|Actions"
		if got := b.text(t, `[...document.querySelectorAll("main > section > h2")].map((h) => h.textContent).join("|")`); got != want {
			t.Errorf("%s: want %s", got, want)
		}
	})
	t.Run("verdict and occupancy", tr.verdict)
	t.Run("holders", tr.holders)
	t.Run("churn, plan, alerts and nodes", tr.others)
	t.Run("names of attackers are text", tr.attack)
	t.Run("schemes and widths", tr.looks)
	t.Run("ten tabs", tr.tabs)
	t.Run("restart", tr.restart)
}

func (tr *trial) verdict(t *testing.T) {
	b := open(t, tr.url)
	b.until(t, "a verdict", `/^\d+ of 300 connections \(\d+%\), /.test(document.getElementById("verdict-text").textContent)`)
	b.shows(t, "age", "data of 0 s ago")
	b.until(t, "the chart", `document.querySelector("#occupancy-chart canvas")`)
	b.shows(t, "occupancy-key", "limit 300")
	b.shows(t, "occupancy-key", "occupancy-critical 85%")
	before := b.of(t, "occupancy-caption")
	tr.leak.hold(t, 15)
	b.until(t, "another number than "+before, fmt.Sprintf("document.getElementById('occupancy-caption').innerText !== %q", before))
	// A reload loses no history.
	first := b.text(t, `document.getElementById("occupancy-caption").innerText.match(/since ([0-9:]+)/)[1]`)
	b.run(t, chromedp.Reload())
	b.until(t, "history since "+first, fmt.Sprintf("document.getElementById('occupancy-caption').innerText.includes('since %s')", first))
}

func (tr *trial) holders(t *testing.T) {
	b := open(t, tr.url)
	b.shows(t, "holders-table", "cart")
	row := `[...document.querySelectorAll("#holders-table tbody tr")].map((r) => r.cells[0].innerText + " " + r.cells[1].innerText)`
	b.until(t, "the leak among the holders", row+fmt.Sprintf(`.includes("cart %d")`, tr.leak.size()))
	tr.leak.hold(t, 10)
	b.until(t, "the growth of the leak", row+fmt.Sprintf(`.includes("cart %d")`, tr.leak.size()))
	// A click sorts, as does the keyboard.
	b.until(t, "the largest first", row+`[0].startsWith("cart")`)
	b.press(t, `#holders-table button[data-key="sort name"]`, "\r")
	b.until(t, "sorted by name", `document.querySelector('#holders-table th[aria-sort="ascending"]').innerText.startsWith("service")`)
	for _, by := range []string{"change", "idle", "memory", "n"} {
		b.click(t, fmt.Sprintf(`#holders-table button[data-key="sort %s"]`, by))
		b.until(t, "sorted by "+by, fmt.Sprintf(`document.querySelector('#holders-table th[aria-sort="descending"] button').dataset.key === "sort %s"`, by))
	}
	for _, by := range []string{"addr", "user", "lib", "cmd", "service"} {
		b.click(t, fmt.Sprintf(`#by button[data-key=%q]`, by))
		b.until(t, "groups by "+by, fmt.Sprintf(`document.querySelector('#by button[aria-pressed="true"]').dataset.key === %q && document.querySelectorAll("#holders-table tbody tr").length > 0`, by))
	}
	b.click(t, `#holders-table button[data-key="group cart"]`)
	b.shows(t, "connections", fmt.Sprint(tr.leak.size(), " connections now"))
	b.shows(t, "connections", "respool kill redis://"+tr.server.Addr()+" --service cart")
	if n := b.text(t, `document.querySelectorAll("#connections tbody tr").length`); n != fmt.Sprint(tr.leak.size()) {
		t.Errorf("%s connections are listed", n)
	}
	b.click(t, `#connections button[data-key="copy kill"]`)
	b.until(t, "a message", `document.getElementById("copied").textContent !== ""`)
}

func (tr *trial) others(t *testing.T) {
	b := open(t, tr.url)
	b.shows(t, "churn-text", "commands for each connection opened")
	b.shows(t, "churn-who", "search owns")
	b.until(t, "the chart of churn", `document.querySelector("#churn-chart canvas")`)
	b.shows(t, "plan", "(over)")
	b.until(t, "the plan's row", `[...document.querySelectorAll("#plan tbody tr")].some((r) => r.innerText.replace(/\s+/g, " ").startsWith("orders 40 30"))`)
	b.shows(t, "findings", "more than planned")
	b.shows(t, "findings", "correct the plan")
	b.shows(t, "alerts", "ceiling")
	b.shows(t, "alerts", "log: delivered, ")
	b.until(t, "the failure of each alert's delivery", `/webhook .*: not delivered yet after [0-9]+ failed attempts?: .*refused, [0-9:]{8}/.test(document.getElementById("alerts").innerText)`)
	b.shows(t, "sinks", "webhook")
	b.shows(t, "sinks", "refused")
	b.shows(t, "nodes", tr.server.Addr())
}

func (tr *trial) attack(t *testing.T) {
	evil := newService(t, tr.server.Addr(), evilName)
	tr.server.Do("ACL", "SETUSER", evilUser, "on", "nopass", "~*", "+@all")
	tr.server.Do("SET", "large", strings.Repeat("x", 1<<20))
	evil.hold(t, 1)
	reader := evil.open()
	if _, err := call(reader, "AUTH", evilUser, "x"); err != nil {
		t.Fatal(err)
	}
	for range 40 {
		send(reader, "GET", "large") // and it does not read
	}
	defer reader.Close()
	push := []string{"RPUSH", evilKey}
	for i := range 60_000 {
		push = append(push, fmt.Sprint(i*7919%1_000_003))
	}
	tr.server.Do(push...)
	for range 5 {
		tr.server.Do("SORT", evilKey, "STORE", "sorted") // more than 10 ms each
	}
	b := open(t, tr.url)
	b.shows(t, "buffers", evilName)
	b.shows(t, "findings", evilKey)
	b.until(t, "a statement about slow commands", `/delayed the others|while one of these does/.test(document.getElementById("slow").innerText)`)
	b.shows(t, "findings", "of replies that it does not read")
	b.click(t, `#by button[data-key="user"]`)
	b.shows(t, "holders-table", evilUser)
	if b.text(t, "typeof hacked") != "undefined" {
		t.Error("a script of an attacker ran")
	}
	b.until(t, "no element of an attacker", `document.querySelectorAll("main script, main img").length === 0`)
}

func (tr *trial) looks(t *testing.T) {
	b := open(t, tr.url)
	b.shows(t, "holders-table", "cart")
	b.click(t, `#holders-table button[data-key="group orders"]`)
	b.shows(t, "connections", "respool kill")
	colors := map[string]string{}
	for _, scheme := range []string{"light", "dark"} {
		for _, width := range []int64{1200, 380} {
			b.look(t, scheme, width)
			b.until(t, fmt.Sprint("a page of the width ", width), fmt.Sprintf("innerWidth === %d && document.documentElement.scrollWidth <= %d", width, width))
			b.until(t, "a chart of that width", `document.querySelector("#occupancy-chart .uplot").offsetWidth <= document.getElementById("occupancy-chart").clientWidth`)
			if (scheme == "light") == (width > 500) {
				b.accessible(t)
			}
			b.shot(t, fmt.Sprint(scheme, "-", width))
			colors[scheme] = b.text(t, "getComputedStyle(document.body).backgroundColor")
		}
	}
	if colors["light"] == colors["dark"] {
		t.Errorf("both schemes have the background %s", colors["light"])
	}
}

func (tr *trial) tabs(t *testing.T) {
	list := make([]*tab, 10)
	var wg sync.WaitGroup
	for i := range list {
		list[i] = newTab(t)
		wg.Go(func() { list[i].load(t, tr.url) })
	}
	wg.Wait()
	for _, b := range list {
		b.shows(t, "holders-table", "cart")
	}
	tr.leak.hold(t, 7)
	for _, b := range list {
		b.until(t, "live data", `[...document.querySelectorAll("#holders-table tbody tr")].some((r) => r.cells[0].innerText === "cart" && r.cells[1].innerText === "`+fmt.Sprint(tr.leak.size())+`")`)
	}
	if n := strings.Count(tr.server.Do("CLIENT", "LIST"), "name=respool:watch"); n != 1 {
		t.Errorf("the watch has %d connections: want 1", n)
	}
}

func (tr *trial) restart(t *testing.T) {
	b := open(t, tr.url)
	b.shows(t, "holders-table", "cart")
	tr.server.Kill()
	b.shows(t, "verdict-text", "not reachable since")
	b.until(t, "a red verdict", `document.getElementById("verdict").className === "critical"`)
	b.until(t, "unknown numbers", `document.getElementById("nodes").innerText.includes("unknown") && document.getElementById("occupancy-caption").innerText.startsWith("now unknown")`)
	tr.server.Restart()
	b.until(t, "connections", `/^\d+ of 300 connections/.test(document.getElementById("verdict-text").textContent)`)
	b.shows(t, "marks", "the server restarted")
	b.until(t, "the history from before", `document.getElementById("occupancy-caption").innerText.includes("highest")`)
}
