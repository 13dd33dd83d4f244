// Package certfile keeps certificates that stand in files, and reads the files
// again when they have changed. A new file that is of no use changes nothing:
// the old content stays in force. It starts no goroutine, and knows nothing of
// connections.
package certfile

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// Files are the paths of files in PEM. Those that are empty are not read.
type Files struct {
	CA        string // who signs the other side's certificate
	Cert, Key string // one's own certificate
}

// Content is what the files hold. It is not changed.
type Content struct {
	CAs  *x509.CertPool   // nil without Files.CA
	Pair *tls.Certificate // nil without Files.Cert
}

// Source is the content of files. All methods are safe for concurrent use.
type Source struct {
	files Files

	mu      sync.Mutex
	stamps  []fs.FileInfo // of the files when they were read last
	content Content
	refused string // why the files as they are now are not used; empty: they are
}

// Open reads the files.
func Open(files Files) (*Source, error) {
	s := &Source{files: files}
	stamps, unseen := s.stat()
	content, err := s.read()
	if err == nil {
		err = unseen
	}
	if err != nil {
		return nil, err
	}
	s.stamps, s.content = stamps, content
	return s, nil
}

// Content is what is in force, after a look whether the files have changed.
// changed reports that they had, and are used from now on. An error tells why
// they are not used; it is returned once for each reason.
func (s *Source) Content() (c Content, changed bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	stamps, err := s.stat()
	if err == nil && s.refused == "" && same(s.stamps, stamps) {
		return s.content, false, nil
	}
	if err == nil {
		c, err = s.read()
	}
	if err == nil {
		err = s.expired(c)
	}
	if err != nil {
		if err.Error() == s.refused {
			return s.content, false, nil
		}
		s.refused = err.Error()
		return s.content, false, err
	}
	s.stamps, s.content, s.refused = stamps, c, ""
	return c, true, nil
}

func (s *Source) stat() (list []fs.FileInfo, err error) {
	for _, path := range []string{s.files.CA, s.files.Cert, s.files.Key} {
		if path == "" {
			continue
		}
		info, err := os.Stat(path)
		if err != nil {
			return nil, err
		}
		list = append(list, info)
	}
	return list, nil
}

func same(a, b []fs.FileInfo) bool {
	for i := range a {
		if a[i].Size() != b[i].Size() || !a[i].ModTime().Equal(b[i].ModTime()) || !os.SameFile(a[i], b[i]) {
			return false
		}
	}
	return true
}

func (s *Source) read() (c Content, err error) {
	if s.files.CA != "" {
		text, err := os.ReadFile(s.files.CA)
		if err != nil {
			return c, err
		}
		c.CAs = x509.NewCertPool()
		if !c.CAs.AppendCertsFromPEM(text) {
			return c, fmt.Errorf("%s holds no certificate in PEM", s.files.CA)
		}
	}
	if s.files.Cert == "" {
		return c, nil
	}
	pair, err := tls.LoadX509KeyPair(s.files.Cert, s.files.Key)
	if err != nil {
		return c, fmt.Errorf("the certificate %s with the key %s: %s", s.files.Cert, s.files.Key, strings.TrimPrefix(err.Error(), "tls: "))
	}
	c.Pair = &pair
	return c, nil
}

// expired refuses a certificate whose time is over in place of one that is valid.
func (s *Source) expired(next Content) error {
	now := time.Now()
	if next.Pair == nil || !next.Pair.Leaf.NotAfter.Before(now) || s.content.Pair.Leaf.NotAfter.Before(now) {
		return nil
	}
	return fmt.Errorf("the certificate %s has expired at %s", s.files.Cert, next.Pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
}
