package certfile

import (
	"crypto/tls"
	"testing"
)

func TestTheCertificateIsCheckedForTheHostOfTheAddress(t *testing.T) {
	for _, c := range []struct{ name, addr, want string }{
		{"", "cache.example:6379", "cache.example"},
		{"", "[fe80::1%eth0]:6379", "fe80::1"}, // a zone is this machine's, not the certificate's
		{"other.example", "cache.example:6379", "other.example"},
	} {
		if got := forHost(&tls.Config{ServerName: c.name}, c.addr).ServerName; got != c.want {
			t.Errorf("server name %q, address %s: the certificate is checked for %q, want %q", c.name, c.addr, got, c.want)
		}
	}
}
