package cluster

import (
	"net"
	"net/netip"
	"strconv"
	"strings"

	"github.com/seed-2b0d76a6/respool/internal/topology"
)

// ParseRedirect reads the message of a MOVED or ASK error, the text after its code: "3999 127.0.0.1:6381". addr is as
// received: its host may be empty, and an IPv6 address may be without brackets. Config.Target reads it.
func ParseRedirect(message string) (slot int, addr string, ok bool) {
	number, addr, found := strings.Cut(message, " ")
	n, err := strconv.ParseUint(number, 10, 16)
	if !found || err != nil || n >= Slots || len(addr) > maxAddr || strings.IndexByte(addr, ':') < 0 {
		return 0, "", false
	}
	return int(n), addr, true
}

// Target returns the node that a redirect of the node from names. The address of the redirect is mapped; an empty host
// or port 0 is that of from. It fails for an address that cannot be dialed: "?:6379" is a node without a hostname in a
// cluster that announces hostnames. It is pure, except for MapAddr.
func (c *Config) Target(from Node, to string) (Node, bool) {
	i := strings.LastIndexByte(to, ':')
	if i < 0 || len(to) > maxAddr {
		return Node{}, false
	}
	host := to[:i]
	if n := len(host); n >= 2 && host[0] == '[' && host[n-1] == ']' {
		host = host[1 : n-1]
	}
	port := to[i+1:]
	if p, err := strconv.ParseUint(port, 10, 16); err == nil {
		port = strconv.FormatUint(p, 10)
	}
	return c.locate(from, host, port, "")
}

// maxAddr limits the text of an address.
const maxAddr = 300

// locate returns the node that the node from announced with a host, a port and, perhaps, a hostname.
func (c *Config) locate(from Node, host, port, hostname string) (Node, bool) {
	if host == "" && port == "0" {
		return Node{}, false // the address is unknown
	}
	fromHost, fromPort, err := net.SplitHostPort(from.Addr)
	if err != nil && (host == "" || port == "0") {
		return Node{}, false
	}
	n := Node{Hostname: hostname}
	switch {
	case host == "":
		host = fromHost
		if n.Hostname == "" {
			n.Hostname = from.Hostname
		}
	case n.Hostname == "" && !isIP(host):
		n.Hostname = host
	}
	if port == "0" {
		port = fromPort
	}
	addr, ok := topology.JoinAddr(host, port)
	if !ok {
		return Node{}, false
	}
	if c.MapAddr != nil {
		addr = c.MapAddr(addr)
	}
	n.Addr = addr
	return n, addr != ""
}

func isIP(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}
