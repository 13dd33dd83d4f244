package notify_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-2b0d76a6/respool/monitor"
	"github.com/seed-2b0d76a6/respool/monitor/notify"
)

func TestAReceiverIsAskedAgainWhenItSays(t *testing.T) {
	for name, c := range map[string]struct {
		code        int
		after       string
		least, most time.Duration
	}{
		"seconds":         {429, "30", 30 * time.Second, 30 * time.Second},
		"a date":          {503, time.Now().Add(40 * time.Second).UTC().Format(http.TimeFormat), 20 * time.Second, 40 * time.Second},
		"any 5xx":         {502, "20", 20 * time.Second, 20 * time.Second},
		"too long":        {429, "999999999999", time.Minute, time.Minute},
		"a date gone by":  {429, "Fri, 02 Jan 2026 03:04:05 GMT", 0, time.Second},
		"less than none":  {429, "-5", 0, time.Second},
		"no time at all":  {429, "soon", 0, time.Second},
		"nothing is said": {500, "", 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := server(t, c.code, http.Header{"Retry-After": {c.after}}, "")
			refusal := webhook(t, notify.HTTP{URL: s.URL}).Send(t.Context(), []monitor.Alert{sample})
			synctest.Test(t, func(t *testing.T) {
				q := notify.NewQueue(&sink{fail: func(n int) error {
					if n == 1 {
						return refusal
					}
					return nil
				}}, notify.QueueConfig{})
				began := time.Now()
				q.Tell(fires("a"))
				shut(t, q)
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("after %v: %v", took, refusal)
				}
			})
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	var asked atomic.Bool
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Store(true) }))
	defer other.Close()
	for _, code := range []int{301, 302, 303, 307, 308} {
		s, _ := server(t, code, http.Header{"Location": {other.URL}}, "")
		err := webhook(t, notify.HTTP{URL: s.URL, Headers: map[string]string{"Authorization": "Bearer hidden"}}).Send(t.Context(), []monitor.Alert{sample})
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(code)) || asked.Load() {
			t.Errorf("%d: %v", code, err)
		}
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	var from []string
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { from = append(from, r.RemoteAddr) }))
	defer s.Close()
	w := webhook(t, notify.HTTP{URL: s.URL})
	for range 3 {
		if err := w.Send(t.Context(), []monitor.Alert{sample}); err != nil {
			t.Fatal(err)
		}
	}
	if len(slices.Compact(from)) != 1 {
		t.Errorf("%q", from)
	}
}

func TestAReceiverThatHangsIsLeft(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // a server sees that a client has left once it has read its body
		<-r.Context().Done()
	}))
	defer s.Close()
	err := webhook(t, notify.HTTP{URL: s.URL, Timeout: time.Millisecond}).Send(t.Context(), []monitor.Alert{sample})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := webhook(t, notify.HTTP{URL: s.URL}).Send(ctx, []monitor.Alert{sample}); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestAWrongConfigurationIsNamed(t *testing.T) {
	for want, cfg := range map[string]notify.HTTP{
		"without a host":       {URL: "http://:80/"},
		"of an unknown scheme": {URL: "example.com/hook"},
		"a port from 1":        {URL: "http://h:99999/"},
		`scheme "ftp"`:         {URL: "ftp://h/"},
		"a time such as 10s":   {URL: "http://h/", Timeout: -1},
		`named "a b"`:          {URL: "http://h/", Headers: map[string]string{"a b": "x"}},
		`named "X-A"`:          {URL: "http://h/", Headers: map[string]string{"X-A": "a\x01"}},
		"https://example.com":  {},
	} {
		for what, err := range map[string]error{"webhook": second(notify.NewWebhook(cfg)), "Alertmanager": second(notify.NewAlertmanager(cfg))} {
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "the "+what) {
				t.Errorf("%v: %v: want %s", cfg, err, want)
			}
		}
	}
}

func second[T any](_ T, err error) error { return err }

// echo repeats what it is sent, as proxies and debug pages do.
func echo(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := r.BasicAuth()
		w.WriteHeader(500)
		fmt.Fprintln(w, user, password, r.RequestURI, r.URL.Query(), r.Header)
	}))
	t.Cleanup(s.Close)
	return strings.TrimPrefix(s.URL, "http://")
}

func TestNoErrorAndNoCountShowsASecret(t *testing.T) {
	e := echo(t)
	places := []string{e, e, e, e, "127.0.0.1:1", "[::1", "h:99999", "%zz", ""}
	secret := rapid.StringMatching(`[a-z]{2}hidden[0-9]{4}[&=+/@:%<>" ]?[a-z]{3}`)
	rapid.Check(t, func(rt *rapid.T) {
		var all []string
		draw := func(what string) string {
			s := secret.Draw(rt, what)
			all = append(all, s)
			return s
		}
		plain := func(what string) string {
			return strings.Map(func(r rune) rune {
				if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
					return r
				}
				return -1
			}, secret.Draw(rt, what))
		}
		cfg := notify.HTTP{
			URL: rapid.SampledFrom([]string{"http://", "http://", "http://", "https://", "ftp://", ""}).Draw(rt, "scheme") + plain("user") + ":" + plain("password") + "@" +
				rapid.SampledFrom(places).Draw(rt, "place") + "/" + plain("path") + "?key=" + plain("query") + "&" + plain("bare"),
			Headers: map[string]string{"Authorization": "Bearer " + draw("token"), "X-Key": draw("key")},
			Timeout: time.Second,
		}
		if rapid.Bool().Draw(rt, "basic") {
			delete(cfg.Headers, "Authorization")
		}
		texts := []string{fmt.Sprintf("%v %+v %#v", cfg, cfg, cfg)}
		w, err := notify.NewWebhook(cfg)
		if err == nil {
			defer w.Close()
			err = w.Send(t.Context(), []monitor.Alert{sample})
			texts = append(texts, w.Name())
		}
		for e := err; e != nil; e = errors.Unwrap(e) {
			texts = append(texts, e.Error(), fmt.Sprintf("%#v", e.Error()))
		}
		for _, text := range texts {
			if strings.Contains(text, "hidden") {
				rt.Fatalf("%q of %q", text, all)
			}
		}
	})
}
