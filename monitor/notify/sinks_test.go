package notify_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

var sample = monitor.Alert{
	Finding: monitor.Finding{Rule: "leak", Severity: monitor.Warn, Subject: "cart", What: "cart holds 30", Evidence: "30 of 31", Remedy: "size it", Node: "n:1"},
	State:   monitor.Firing, Service: "mymaster", Instance: "here",
	Began: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Fired: time.Date(2026, 1, 2, 3, 6, 5, 0, time.UTC),
}

// received is what a server was posted last.
type received struct {
	path, auth, token string
	body              []byte
}

func server(t *testing.T, code int, header http.Header, text string) (*httptest.Server, *received) {
	t.Helper()
	var r received
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r = received{req.URL.Path, req.Header.Get("Authorization"), req.Header.Get("X-Token"), body}
		for name, values := range header {
			w.Header()[name] = values
		}
		w.WriteHeader(code)
		fmt.Fprint(w, text)
	}))
	t.Cleanup(s.Close)
	return s, &r
}

func webhook(t *testing.T, cfg notify.HTTP) *notify.Webhook {
	t.Helper()
	w, err := notify.NewWebhook(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

func TestWebhook(t *testing.T) {
	s, r := server(t, 204, nil, "")
	w := webhook(t, notify.HTTP{URL: strings.Replace(s.URL, "://", "://me:secret@", 1) + "/hook?key=hidden", Headers: map[string]string{"X-Token": "tok"}})
	if err := w.Send(t.Context(), []monitor.Alert{sample}); err != nil {
		t.Fatal(err)
	}
	want := `{"version":1,"instance":"here","alerts":[{"rule":"leak","severity":"warn","subject":"cart","what":"cart holds 30","evidence":"30 of 31","remedy":"size it",` +
		`"node":"n:1","state":"firing","began":"2026-01-02T03:04:05Z","fired":"2026-01-02T03:06:05Z","service":"mymaster","instance":"here"}]}`
	if string(r.body) != want || r.path != "/hook" || r.token != "tok" || !strings.HasPrefix(r.auth, "Basic ") {
		t.Errorf("%+v\n%s\nwant\n%s", r, r.body, want)
	}
	var back struct{ Alerts []monitor.Alert }
	if err := json.Unmarshal(r.body, &back); err != nil || len(back.Alerts) != 1 || back.Alerts[0] != sample {
		t.Errorf("%+v, %v", back, err)
	}
	if strings.ContainsAny(w.Name(), "?@") || strings.Contains(w.Name(), "secret") {
		t.Error(w.Name())
	}
}

func TestAnswersThatAreRefusals(t *testing.T) {
	for code, c := range map[int]struct {
		header http.Header
		tries  int // within a second
	}{
		400: {nil, 1}, 401: {nil, 1}, 302: {http.Header{"Location": {"http://127.0.0.1:1/"}}, 1}, 500: {nil, 2}, 503: {nil, 2}, 429: {http.Header{"Retry-After": {"3600"}}, 1},
	} {
		t.Run(fmt.Sprint(code), func(t *testing.T) {
			s, _ := server(t, code, c.header, "because of "+strings.Repeat("x", 5000))
			w := webhook(t, notify.HTTP{URL: s.URL + "/?key=hidden", Headers: map[string]string{"Authorization": "Bearer hidden"}})
			counted := &counting{Sink: w, at: make(chan struct{}, 10)}
			q := notify.NewQueue(counted, notify.QueueConfig{Backoff: time.Millisecond, Longest: time.Hour})
			q.Tell(sample)
			for range c.tries {
				counted.wait(t)
			}
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			_ = q.Close(ctx)
			if st := q.Stats(); st.LastError == nil {
				t.Fatalf("%+v", st)
			}
			text := counted.first.Error() // the last try may have been cut by Close
			if (c.tries == 1) != (counted.n == 1) || !strings.Contains(text, fmt.Sprint(code)) || strings.Contains(text, "hidden") || len(text) > 500 {
				t.Errorf("%d tries; %s", counted.n, text)
			}
		})
	}
}

// counting counts attempts.
type counting struct {
	notify.Sink
	n     int
	first error
	at    chan struct{}
}

func (c *counting) Send(ctx context.Context, alerts []monitor.Alert) error {
	err := c.Sink.Send(ctx, alerts)
	if c.n++; c.n == 1 {
		c.first = err
	}
	select {
	case c.at <- struct{}{}:
	default:
	}
	return err
}

func (c *counting) wait(t *testing.T) {
	t.Helper()
	select {
	case <-c.at:
	case <-time.After(10 * time.Second):
		t.Fatal("no attempt")
	}
}

func TestErrorsShowNoSecrets(t *testing.T) {
	w := webhook(t, notify.HTTP{URL: "http://me:secret@127.0.0.1:1/secret?key=secret", Headers: map[string]string{"X": "secret"}})
	err := w.Send(t.Context(), []monitor.Alert{sample})
	if err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "127.0.0.1:1") {
		t.Error(err)
	}
	for url, want := range map[string]string{
		"ftp://me:secret@x/":        `scheme "ftp"`,
		"secret":                    "http:// or https://",
		"http://me:secret@%zz/\x7f": "not a URL",
	} {
		if _, err := notify.NewWebhook(notify.HTTP{URL: url}); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := notify.NewWebhook(notify.HTTP{URL: "http://x", Headers: map[string]string{"X-A": "a\r\nB: secret"}}); err == nil || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
}

func TestAlertmanager(t *testing.T) {
	s, r := server(t, 200, nil, "")
	am, err := notify.NewAlertmanager(notify.HTTP{URL: s.URL + "/prefix/"})
	if err != nil {
		t.Fatal(err)
	}
	defer am.Close()
	am.External = "http://here/"
	over := sample
	over.State, over.Resolved, over.Subject = monitor.Resolved, sample.Began.Add(time.Hour), ""
	began := time.Now()
	if err := am.Send(t.Context(), []monitor.Alert{sample, over}); err != nil {
		t.Fatal(err)
	}
	var got []struct {
		Labels, Annotations map[string]string
		StartsAt, EndsAt    time.Time
		GeneratorURL        string
	}
	dec := json.NewDecoder(bytes.NewReader(r.body))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&got); err != nil || len(got) != 2 || r.path != "/prefix/api/v2/alerts" {
		t.Fatalf("%v: %s at %s", err, r.body, r.path)
	}
	if l := got[0].Labels; l["alertname"] != "respool-leak" || l["severity"] != "warn" || l["node"] != "n:1" || l["subject"] != "cart" || l["service"] != "mymaster" || l["instance"] != "here" {
		t.Errorf("%v", l)
	}
	if a := got[0].Annotations; a["summary"] != sample.What || a["description"] != sample.Evidence || a["remedy"] != sample.Remedy || got[0].GeneratorURL != "http://here/" {
		t.Errorf("%v", a)
	}
	if !got[0].StartsAt.Equal(sample.Began) || got[0].EndsAt.Before(began.Add(time.Minute)) || !got[1].EndsAt.Equal(over.Resolved) {
		t.Errorf("%+v", got)
	}
	if _, there := got[1].Labels["subject"]; there || am.Repeat() != time.Minute {
		t.Error("an empty label")
	}
}

func TestLog(t *testing.T) {
	var out bytes.Buffer
	page, over := sample, sample
	page.Severity = monitor.Page
	over.State, over.Resolved = monitor.Resolved, sample.Began.Add(time.Hour)
	if err := (notify.Log{Logger: slog.New(slog.NewTextHandler(&out, nil))}).Send(t.Context(), []monitor.Alert{sample, page, over}); err != nil {
		t.Fatal(err)
	}
	for i, line := range strings.Split(strings.TrimSpace(out.String()), "\n") {
		level := []string{"WARN", "ERROR", "INFO"}[i]
		if !strings.Contains(line, "level="+level) || !strings.Contains(line, "rule=leak") || !strings.Contains(line, "subject=cart") || strings.Contains(line, "lasted=1h") != (i == 2) {
			t.Error(line)
		}
	}
}

func command(t *testing.T, timeout time.Duration, args ...string) *notify.Command {
	t.Helper()
	c, err := notify.NewCommand(args, timeout)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCommand(t *testing.T) {
	file := filepath.Join(t.TempDir(), "out")
	c := command(t, 0, "sh", "-c", `cat >>"$0"; echo " $RESPOOL_ALERT_STATE $RESPOOL_ALERT_SUBJECT $RESPOOL_ALERT_TEXT" >>"$0"`, file)
	odd := sample
	odd.Subject, odd.What = "x\x00y", "$(touch /nowhere) `id`"
	over := sample
	over.State, over.Resolved = monitor.Resolved, sample.Began.Add(time.Hour)
	if err := c.Send(t.Context(), []monitor.Alert{sample, odd, over}); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(file)
	lines := strings.Split(strings.TrimSpace(string(raw)), "\n")
	if err != nil || len(lines) != 3 || !strings.HasPrefix(lines[0], `{"rule":"leak",`) || !strings.HasSuffix(lines[0], " firing cart cart holds 30; do: size it") ||
		!strings.HasSuffix(lines[1], " firing xy $(touch /nowhere) `id`; do: size it") || !strings.HasSuffix(lines[2], " resolved cart cart holds 30") {
		t.Errorf("%s, %v", raw, err)
	}
}

func TestACommandThatFails(t *testing.T) {
	err := command(t, 0, "sh", "-c", "echo broken >&2; yes | head -c 100000; exit 3").Send(t.Context(), []monitor.Alert{sample})
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || !strings.Contains(err.Error(), "broken") || len(err.Error()) > 2000 {
		t.Errorf("%.300v", err)
	}
	for want, args := range map[string][]string{"a program": nil, "cannot be run": {"no-such-program-here"}} {
		if _, err := notify.NewCommand(args, 0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", args, err)
		}
	}
}
