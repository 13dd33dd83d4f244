// Package certfile loads certificates from files, and reloads the files after a change. If a new file is invalid, the
// old content stays in use. It also provides the TLS configuration of dials that use such files. It starts no goroutine
// and does not open connections.
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

// Files are the paths of PEM files. Empty paths are not read.
type Files struct {
	CA        string // certificate authorities of the other side
	Cert, Key string // certificate and key of this side
}

// Content is the parsed content of the files. It must not be changed.
type Content struct {
	CAs  *x509.CertPool   // nil without Files.CA
	Pair *tls.Certificate // nil without Files.Cert
}

// Source provides the content of files. All methods are safe for concurrent use.
type Source struct {
	files Files

	mu      sync.Mutex
	stamps  []fs.FileInfo // state of the files at the last read
	content Content
	refused string // why the current files are not used; empty: they are
}

// Open reads the files. It returns an error if one is invalid.
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

// Content returns the content in use, after a check for changed files. changed reports that it has changed now. An
// error states why changed files are not used; each reason is returned once.
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

// expired returns an error if an expired certificate would replace a valid one.
func (s *Source) expired(next Content) error {
	now := time.Now()
	if next.Pair == nil || !next.Pair.Leaf.NotAfter.Before(now) || s.content.Pair.Leaf.NotAfter.Before(now) {
		return nil
	}
	return fmt.Errorf("the certificate %s has expired at %s", s.files.Cert, next.Pair.Leaf.NotAfter.UTC().Format(time.RFC3339))
}
