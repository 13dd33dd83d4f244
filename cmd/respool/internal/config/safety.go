package config

import (
	"fmt"
	"maps"
	"slices"
)

// Risk describes the risk of an address that is allowed, or returns an empty text.
func (s *Serve) Risk(a *Address) string {
	switch {
	case a.Expired():
		return "the certificate has expired, so clients refuse it: " + a.Files.Cert
	case a.Local() || a.Files.ClientCA != "":
	case s.Gateway.Users == nil && !s.Gateway.NeedAuth:
		return "everyone who can connect may use the server: --insecure"
	case a.Files.Cert == "":
		return "passwords cross the network unencrypted: no TLS"
	}
	return ""
}

// CheckSafe refuses an address that other machines reach unless clients have to authenticate there.
func (s *Serve) CheckSafe() error {
	open := slices.IndexFunc(s.Listen, func(a Address) bool { return !a.Local() && a.Files.ClientCA == "" })
	if open < 0 || s.Gateway.PassThrough && s.Gateway.NeedAuth {
		return nil
	}
	why := "everyone who can connect could use the server"
	for _, name := range slices.Sorted(maps.Keys(s.Gateway.Users)) {
		if u := s.Gateway.Users[name]; !u.Disabled && len(u.Passwords) == 0 {
			return fmt.Errorf("%s: %s as user %s: want a password_sha256 for that user, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure",
				s.Listen[open].Origin, why, name)
		}
	}
	if s.Gateway.Users != nil {
		return nil
	}
	return fmt.Errorf("%s: %s: want users with passwords, pass_through with need_auth, client certificates (tls with client_ca, or --tls-ca), a loopback address, or --insecure",
		s.Listen[open].Origin, why)
}
