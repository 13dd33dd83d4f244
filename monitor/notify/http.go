package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HTTP says how to reach a receiver over HTTP. The zero value of a field but
// URL stands for its default. It prints without secrets.
type HTTP struct {
	URL     string            // http:// or https://, with a user and password if need be
	Headers map[string]string // sent along, such as Authorization
	Timeout time.Duration     // of an attempt; default 10 s
}

const (
	httpTimeout   = 10 * time.Second
	answerShown   = 200 // bytes of a refusal's text
	answerRead    = 64 << 10
	contentType   = "application/json"
	longestHeader = 4096
)

// poster posts JSON to one address.
type poster struct {
	target *url.URL
	head   http.Header
	client *http.Client
}

func newPoster(what string, cfg HTTP, path string) (*poster, error) {
	u, err := url.Parse(cfg.URL)
	switch {
	case err != nil:
		// The error repeats the URL, which may hold a secret.
		return nil, config("the URL of the "+what, "no URL", "one such as https://example.com/hook")
	case u.Scheme != "http" && u.Scheme != "https" || u.Host == "":
		return nil, config("the URL of the "+what, fmt.Sprintf("of scheme %.20q, or without a host", u.Scheme), "http:// or https:// and a host")
	case cfg.Timeout < 0:
		return nil, config("the timeout of the "+what, cfg.Timeout.String(), "a time such as 10s")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = httpTimeout
	}
	p := &poster{target: u.JoinPath(path), head: http.Header{"Content-Type": {contentType}}}
	if path == "" {
		p.target = u
	}
	for name, value := range cfg.Headers {
		if strings.ContainsAny(name+value, "\r\n\x00") || name == "" || len(value) > longestHeader {
			return nil, config("a header of the "+what, fmt.Sprintf("named %.40q", name), "a name and a value on one line")
		}
		p.head.Set(name, value)
	}
	p.client = &http.Client{Timeout: cfg.Timeout, Transport: http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p, nil
}

// place tells where it posts to, without what may be secret.
func (p *poster) place() string { return p.target.Scheme + "://" + p.target.Host }

func (p *poster) post(ctx context.Context, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return Permanent(fmt.Errorf("notify: %s: %w", p.place(), err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.String(), bytes.NewReader(raw))
	if err != nil {
		return Permanent(fmt.Errorf("notify: %s: the request can't be made", p.place()))
	}
	req.Header = p.head.Clone()
	if u := p.target.User; u != nil && req.Header.Get("Authorization") == "" {
		password, _ := u.Password()
		req.SetBasicAuth(u.Username(), password)
	}
	answer, err := p.client.Do(req)
	if err != nil {
		var ue *url.Error // its text has the whole URL
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return fmt.Errorf("notify: post to %s: %w", p.place(), err)
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, answerRead))
	return p.judge(answer, text)
}

// judge tells what an answer means.
func (p *poster) judge(answer *http.Response, text []byte) error {
	if answer.StatusCode/100 == 2 {
		return nil
	}
	err := fmt.Errorf("notify: %s answers %s: %.*q", p.place(), answer.Status, answerShown, text)
	switch {
	case answer.StatusCode == http.StatusTooManyRequests || answer.StatusCode == http.StatusServiceUnavailable:
		if s, e := strconv.Atoi(answer.Header.Get("Retry-After")); e == nil && s > 0 {
			return later{err, time.Duration(min(s, 3600)) * time.Second}
		}
		return err
	case answer.StatusCode/100 == 5 || answer.StatusCode == http.StatusRequestTimeout:
		return err
	}
	return Permanent(err)
}

// close ends the connections that are kept.
func (p *poster) close() { p.client.CloseIdleConnections() }
