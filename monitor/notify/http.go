package notify

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// HTTP configures a receiver. The zero value of a field except URL stands for its default. It
// prints without secrets: only scheme and host.
type HTTP struct {
	URL     string            // http:// or https://, with a user and password if need be
	Headers map[string]string // additional headers, such as Authorization
	Timeout time.Duration     // limit of one attempt; default 10 s
}

const (
	httpTimeout   = 10 * time.Second
	answerShown   = 200 // bytes of a refusal's text in errors
	answerRead    = 64 << 10
	contentType   = "application/json"
	longestHeader = 4096
	longestAfter  = time.Hour // longest Retry-After that is accepted
)

// String returns the scheme and the host.
func (h HTTP) String() string {
	u, err := url.Parse(h.URL)
	if err != nil || u.Host == "" {
		return hidden
	}
	return u.Scheme + "://" + u.Host
}

// GoString returns the quoted String, for %#v.
func (h HTTP) GoString() string { return strconv.Quote(h.String()) }

// LogValue returns String, for slog.
func (h HTTP) LogValue() slog.Value { return slog.StringValue(h.String()) }

// poster posts JSON to one address.
type poster struct {
	target *url.URL
	head   http.Header
	client *http.Client
	mask   masker
}

func newPoster(what string, cfg HTTP, path string) (*poster, error) {
	if cfg.Timeout < 0 {
		return nil, config("the timeout of the "+what, cfg.Timeout.String(), "a time such as 10s")
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = httpTimeout
	}
	u, err := parseTarget(what, cfg.URL)
	if err != nil {
		return nil, err
	}
	p := &poster{target: u, head: http.Header{"Content-Type": {contentType}}, mask: newMasker(u, cfg.Headers)}
	if path != "" {
		p.target = u.JoinPath(path)
	}
	for name, value := range cfg.Headers {
		if !isToken(name) || !isLine(value) || len(value) > longestHeader {
			return nil, config("a header of the "+what, fmt.Sprintf("named %.40q", name), "a name and a value on one line")
		}
		p.head.Set(name, value)
	}
	p.client = &http.Client{Timeout: cfg.Timeout, Transport: newTransport(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return p, nil
}

// parseTarget parses a URL. Its errors do not contain the URL, which may contain a secret.
func parseTarget(what, text string) (*url.URL, error) {
	what = "the URL of the " + what
	const want = "http:// or https:// and a host, such as https://example.com/hook"
	u, err := url.Parse(text)
	if err != nil {
		return nil, config(what, "not a URL", want)
	}
	port, err := strconv.Atoi(u.Port())
	switch {
	case u.Scheme != "http" && u.Scheme != "https" && strings.Contains(text, "://"):
		return nil, config(what, fmt.Sprintf("of scheme %.20q", u.Scheme), want)
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, config(what, "of an unknown scheme", want) // the scheme may be a user name
	case u.Hostname() == "":
		return nil, config(what, "without a host", want)
	case u.Port() != "" && (err != nil || port < 1 || port > 65535):
		return nil, config(what, "of an invalid port", "a port from 1 to 65535")
	}
	return u, nil
}

// isToken reports whether name is a valid header name.
func isToken(name string) bool {
	return name != "" && !strings.ContainsFunc(name, func(r rune) bool {
		return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r)
	})
}

// isLine reports whether value is a valid header value.
func isLine(value string) bool {
	return !strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f })
}

// newTransport returns a transport with its own connections, so that close affects no others.
func newTransport() *http.Transport {
	t := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSHandshakeTimeout: httpTimeout, IdleConnTimeout: 90 * time.Second, ForceAttemptHTTP2: true}
	if base, ok := http.DefaultTransport.(*http.Transport); ok {
		t = base.Clone()
	}
	if proxy := t.Proxy; proxy != nil {
		t.Proxy = func(r *http.Request) (*url.URL, error) {
			u, err := proxy(r)
			if err != nil { // the error contains the URL of the proxy, which may contain a password
				return nil, errors.New("the environment names an invalid proxy")
			}
			return u, nil
		}
	}
	return t
}

// place returns the scheme and the host, without secrets.
func (p *poster) place() string { return p.target.Scheme + "://" + p.target.Host }

func (p *poster) post(ctx context.Context, body any) error {
	raw, err := json.Marshal(body)
	if err != nil {
		return Permanent(fmt.Errorf("notify: %s: %w", p.place(), err))
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, p.target.String(), bytes.NewReader(raw))
	if err != nil {
		return Permanent(fmt.Errorf("notify: %s: cannot create the request", p.place()))
	}
	req.Header = p.head.Clone()
	answer, err := p.client.Do(req)
	if err != nil {
		var ue *url.Error // its text contains the whole URL
		if errors.As(err, &ue) {
			err = ue.Err
		}
		return fmt.Errorf("notify: post to %s: %w", p.place(), p.mask.err(err))
	}
	defer answer.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(answer.Body, answerRead))
	return p.judge(answer, string(text))
}

// judge converts an HTTP answer to an error; nil if it means success.
func (p *poster) judge(answer *http.Response, text string) error {
	code := answer.StatusCode
	if code/100 == 2 {
		return nil
	}
	err := fmt.Errorf("notify: %s answers %d %s: %.*q", p.place(), code, http.StatusText(code), answerShown, p.mask.text(text))
	if code/100 != 5 && code != http.StatusTooManyRequests && code != http.StatusRequestTimeout {
		return Permanent(err)
	}
	if after := retryAfter(answer.Header, time.Now()); after > 0 {
		return later{err, after}
	}
	return err
}

// retryAfter returns the delay of the Retry-After header, in seconds or until a date; 0 without
// one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(min(max(0, seconds), int(longestAfter/time.Second))) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(0, at.Sub(now)), longestAfter)
	}
	return 0
}

// close closes idle connections.
func (p *poster) close() { p.client.CloseIdleConnections() }
