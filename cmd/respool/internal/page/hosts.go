package page

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strings"
)

// openPages are the pages for programs that reach the process by any name: probes and Prometheus.
var openPages = map[string]bool{"/healthz": true, "/readyz": true, "/metrics": true}

// AllowHosts sets the names in the header Host with which requests may reach the pages, in addition to IP addresses, localhost,
// the name of this machine and the host of listen, which is the configured address of the pages. A foreign web site whose name
// resolves to an address of this machine is none of them, so a browser that shows it cannot read the pages. It is safe for
// concurrent use.
func (p *Pages) AllowHosts(names []string, listen string) {
	allowed := map[string]bool{"localhost": true}
	if machine, err := os.Hostname(); err == nil {
		machine = hostName(machine)
		short, _, _ := strings.Cut(machine, ".")
		allowed[machine], allowed[short] = true, true
	}
	for _, name := range append([]string{listen}, names...) {
		allowed[hostName(name)] = true
	}
	p.hosts.Store(&allowed)
}

// hostName returns the name in a header Host, without the port.
func hostName(host string) string {
	if name, _, err := net.SplitHostPort(host); err == nil {
		host = name
	}
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// allowsHost reports whether a header Host names this process. A request without one is not from a browser.
func (p *Pages) allowsHost(host string) bool {
	name := hostName(host)
	if _, err := netip.ParseAddr(strings.Trim(name, "[]")); err == nil || name == "" {
		return true
	}
	allowed := p.hosts.Load()
	return allowed != nil && (*allowed)[name]
}

// ServeHTTP serves the pages to requests with an allowed name, and openPages to all.
func (p *Pages) ServeHTTP(rw http.ResponseWriter, q *http.Request) {
	if openPages[q.URL.Path] || p.allowsHost(q.Host) {
		p.Mux.ServeHTTP(rw, q)
		return
	}
	text := fmt.Sprintf("the name %.80q in the header Host is not allowed: add it to page_hosts in the configuration, or use an IP address", hostName(q.Host))
	rw.Header().Set("X-Content-Type-Options", "nosniff")
	if strings.HasPrefix(q.URL.Path, "/api/") || strings.HasPrefix(q.URL.Path, "/page/") {
		WriteJSON(rw, http.StatusMisdirectedRequest, struct {
			Error string `json:"error"`
		}{text})
		return
	}
	rw.Header().Set("Cache-Control", "no-store")
	http.Error(rw, text, http.StatusMisdirectedRequest)
}
