package page

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

func TestOtherNamesAreRefused(t *testing.T) {
	machine, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	p := &Pages{Mux: http.NewServeMux()}
	paths := []string{"/", "/page/stream", "/page/connections", "/page/session", "/page/login", "/page/act", "/api/snapshot", "/api/alerts", "/api/connections", "/metrics", "/healthz", "/readyz"}
	for _, path := range paths {
		p.Mux.HandleFunc(path, func(rw http.ResponseWriter, _ *http.Request) { rw.WriteHeader(http.StatusOK) })
	}
	p.AllowHosts([]string{"respool.Example.com", "respool.monitoring"}, "pages.internal:8638")
	code := func(method, host, path string) (int, string) {
		q, rw := httptest.NewRequest(method, path, nil), httptest.NewRecorder()
		q.Host = host
		p.ServeHTTP(rw, q)
		return rw.Code, rw.Body.String()
	}
	for _, host := range []string{"", "127.0.0.1", "127.0.0.1:8638", "10.1.2.3:80", "[::1]:8638", "[::1]", "[fe80::1%eth0]:80", "localhost", "LOCALHOST:8638", "localhost.:80",
		machine, machine + ":8638", "respool.example.com", "RESPOOL.example.COM:443", "respool.monitoring:8638", "pages.internal", "pages.internal:80"} {
		for _, path := range paths {
			if got, text := code("GET", host, path); got != 200 {
				t.Errorf("%q %s: %d %s", host, path, got, text)
			}
		}
	}
	for _, host := range []string{"evil.example", "evil.example:8638", "127.0.0.1.evil.example", "localhost.evil.example", machine + ".evil.example",
		"respool.example.com.evil.example", "x.respool.example.com", "127.0.0.1:80:80", "evil.example\x00"} {
		for _, path := range paths {
			for _, method := range []string{"GET", "POST"} {
				got, text := code(method, host, path)
				switch open := path == "/metrics" || path == "/healthz" || path == "/readyz"; {
				case open && got != 200:
					t.Errorf("%q %s: %d", host, path, got)
				case !open && (got != 421 || !strings.Contains(text, "page_hosts")):
					t.Errorf("%s %q %s: %d %s", method, host, path, got, text)
				}
			}
		}
	}
	p.AllowHosts(nil, "")
	if got, _ := code("GET", "respool.monitoring", "/"); got != 421 {
		t.Errorf("%d: want the name refused after a reload without it", got)
	}
}
