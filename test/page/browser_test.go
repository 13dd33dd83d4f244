package page

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/chromedp"

	"github.com/seed-2b0d76a6/respool/internal/testkit"
)

// shots is where the tests write screenshots: go test ./test/page -shots DIR.
var shots = flag.String("shots", "", "directory for screenshots")

// browser is Chromium, which all tests share.
var browser context.Context

// startBrowser starts Chromium with its files in a directory. stop waits for its end.
func startBrowser(dir string) (stop func(), err error) {
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath("chromium"), chromedp.NoSandbox,
		chromedp.UserDataDir(dir), chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("host-resolver-rules", "MAP *.example 127.0.0.1"))
	allocator, end := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, leave := chromedp.NewContext(allocator)
	stop = func() {
		_ = chromedp.Cancel(ctx) // waits for the end of the process
		leave()
		end()
	}
	if err := chromedp.Do(ctx); err != nil {
		stop()
		return nil, fmt.Errorf("chromium does not start: %w", err)
	}
	browser = ctx
	return stop, nil
}

// tab is one tab of the browser.
type tab struct {
	ctx context.Context
}

// open opens a page in a new tab. The end of the test closes it.
func open(t *testing.T, url string) *tab {
	t.Helper()
	b := newTab(t)
	b.load(t, url)
	return b
}

// newTab opens an empty tab. The end of the test closes it.
func newTab(t *testing.T) *tab {
	t.Helper()
	ctx, leave := chromedp.NewContext(browser)
	t.Cleanup(leave)
	b := &tab{ctx}
	if err := chromedp.Do(ctx); err != nil { // opens the tab, without a limit: the limit of this call would be that of the tab
		t.Fatal(err)
	}
	return b
}

// load loads a page. Several tabs may load at a time.
func (b *tab) load(t *testing.T, url string) {
	t.Helper()
	b.run(t, chromedp.EmulateViewport(1200, 900), chromedp.Navigate(url))
}

// limit is the time for one action of the browser.
const limit = time.Minute

func (b *tab) run(t *testing.T, actions ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		t.Error(err)
	}
}

// text evaluates an expression to a text. The expression may be a promise.
func (b *tab) text(t *testing.T, expression string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, limit)
	defer cancel()
	s, err := chromedp.Run(ctx, chromedp.Evaluate[string]("(async () => String(await ("+expression+")))()", chromedp.EvalAwaitPromise))
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return s
}

// of returns the text of an element.
func (b *tab) of(t *testing.T, id string) string {
	t.Helper()
	return b.text(t, fmt.Sprintf("document.getElementById(%q).innerText", id))
}

// condition is a promise that ends when an expression is true, with an empty text, or at a time, with the text of the page. It
// looks after each change of the page, and at intervals for what is no change of the document, such as its width.
const condition = `new Promise((resolve) => {
  let problem = "";
  const holds = () => { try { return Boolean(%s); } catch (e) { problem = String(e); return false; } };
  const end = performance.now() + %d;
  const seen = new MutationObserver(look), timer = setInterval(look, 100);
  function look() {
    const done = holds();
    if (!done && performance.now() < end) return;
    seen.disconnect();
    clearInterval(timer);
    resolve(done ? "" : problem + " " + document.body.innerText);
  }
  seen.observe(document, { subtree: true, childList: true, characterData: true, attributes: true });
  look();
})`

// until waits until an expression is true. what says so in words; it fails with the text of the page.
func (b *tab) until(t *testing.T, what, expression string) {
	t.Helper()
	if text := b.text(t, fmt.Sprintf(condition, expression, (limit-10*time.Second).Milliseconds())); text != "" {
		t.Fatalf("no %s: %s", what, text)
	}
}

// shows waits until an element contains a text.
func (b *tab) shows(t *testing.T, id, text string) {
	t.Helper()
	b.until(t, fmt.Sprintf("%q in %s", text, id), fmt.Sprintf("document.getElementById(%q).innerText.includes(%q)", id, text))
}

// click clicks the first element that a selector finds.
func (b *tab) click(t *testing.T, selector string) {
	t.Helper()
	b.until(t, selector, fmt.Sprintf("((e) => e && (e.click(), true))(document.querySelector(%q))", selector))
}

// choose shows a node.
func (b *tab) choose(t *testing.T, node string) {
	t.Helper()
	b.click(t, fmt.Sprintf(`#nodes button[data-key="node %s"]`, node))
	b.until(t, "view of "+node, fmt.Sprintf(`document.querySelector('#nodes button[data-key="node %s"]').ariaPressed === "true"`, node))
}

// list lists the connections of a group, until it has n. Lists of one second may be the same.
func (b *tab) list(t *testing.T, group string, n int) {
	t.Helper()
	button := fmt.Sprintf(`#holders-table button[data-key="group %s"]`, group)
	testkit.Within(t, limit, fmt.Sprint(n, " connections of ", group), func() bool {
		b.click(t, button)
		b.until(t, "list", `/connections now/.test(document.getElementById("connections-body").innerText)`)
		if strings.HasPrefix(b.of(t, "connections-body"), fmt.Sprint(n, " connections now")) {
			return true
		}
		b.click(t, `#connections button[data-key="close"]`)
		return false
	})
}

// press focuses an element and presses a key.
func (b *tab) press(t *testing.T, selector, key string) {
	t.Helper()
	b.text(t, fmt.Sprintf("document.querySelector(%q).focus()", selector))
	b.run(t, chromedp.KeyEvent(key))
}

// look changes the scheme of colors and the width.
func (b *tab) look(t *testing.T, scheme string, width int64) {
	t.Helper()
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}); err != nil {
		t.Fatal(err)
	}
	b.run(t, chromedp.EmulateViewport(width, 900))
}

// shot writes a screenshot if there is a directory for them.
func (b *tab) shot(t *testing.T, name string) {
	t.Helper()
	if *shots == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*shots, name+".png"), png, 0o644); err != nil {
		t.Fatal(err)
	}
}

// accessible fails if axe finds a violation.
func (b *tab) accessible(t *testing.T) {
	t.Helper()
	source, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool](string(source)+";true")); err != nil {
		t.Fatal(err)
	}
	found := b.text(t, `axe.run(document).then((r) => r.passes.length < 10 ? "axe did not run" : r.violations.map((v) => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map((n) => n.target + " " + n.failureSummary).join("; ")).join("\n"))`)
	if found != "" {
		t.Errorf("axe: %s", found)
	}
}
