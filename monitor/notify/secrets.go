package notify

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"html"
	"net/url"
	"slices"
	"strings"
)

// The minimum length of a secret in bytes. Shorter texts, such as the 1 of v=1 or the api of a
// path, are not secrets, and masking them would make messages unreadable.
const (
	leastSecret = 4
	leastPath   = 8
)

const hidden = "***"

// masker masks the secrets of a configuration in text from other sources.
type masker struct{ r *strings.Replacer }

// newMasker returns a masker for the user, the password, the parts of the path, the query and the
// values of headers, in all their spellings.
func newMasker(u *url.URL, headers map[string]string) masker {
	secrets := []string{u.RawQuery}
	for _, part := range strings.Split(u.EscapedPath(), "/") {
		if len(part) >= leastPath {
			secrets = append(secrets, part)
		}
	}
	for name, values := range u.Query() {
		secrets = append(secrets, values...)
		if len(values) == 1 && values[0] == "" {
			secrets = append(secrets, name)
		}
	}
	if u.User != nil {
		password, _ := u.User.Password()
		pair := u.User.Username() + ":" + password
		secrets = append(secrets, u.User.Username(), password, u.User.String(), base64.StdEncoding.EncodeToString([]byte(pair)))
	}
	for _, value := range headers {
		secrets = append(append(secrets, value), strings.Fields(value)...)
	}
	var forms []string
	for _, s := range secrets {
		forms = append(forms, spellings(s)...)
	}
	// The longest form is first: the replacer prefers it at the same position.
	slices.SortFunc(forms, func(a, b string) int { return cmp.Or(cmp.Compare(len(b), len(a)), cmp.Compare(a, b)) })
	var pairs []string
	for _, s := range slices.Compact(forms) {
		if len(s) >= leastSecret {
			pairs = append(pairs, s, hidden)
		}
	}
	return masker{strings.NewReplacer(pairs...)}
}

// spellings returns the forms of a text in a URL, in JSON and in HTML.
func spellings(s string) []string {
	list := []string{s, url.QueryEscape(s), url.PathEscape(s), html.EscapeString(s)}
	if raw, err := json.Marshal(s); err == nil {
		list = append(list, string(raw[1:len(raw)-1]))
	}
	if plain, err := url.PathUnescape(s); err == nil {
		list = append(list, plain)
	}
	return list
}

func (m masker) text(s string) string { return m.r.Replace(s) }

// err masks the text of an error. errors.Is still works, but its causes have the same masked text.
func (m masker) err(err error) error { return masked{m.text(err.Error()), err} }

type masked struct {
	text  string
	cause error
}

func (m masked) Error() string        { return m.text }
func (m masked) Is(target error) bool { return errors.Is(m.cause, target) }
