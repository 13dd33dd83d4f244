package yamlnode

import (
	"net/url"
	"strings"
)

// HideSecrets replaces the secrets in the URL of a server. It hides all of a URL that it cannot parse.
func HideSecrets(text string) string {
	scheme, rest, found := strings.Cut(text, "://")
	if !found {
		return Hidden
	}
	place, query, hasQuery := strings.Cut(rest, "?")
	if at := strings.LastIndexByte(place, '@'); at >= 0 {
		if user, _, hasPassword := strings.Cut(place[:at], ":"); hasPassword {
			place = user + ":" + Hidden + place[at:]
		}
	}
	if !hasQuery {
		return scheme + "://" + place
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		key, _, _ := strings.Cut(pair, "=")
		plain, err := url.QueryUnescape(key)
		if err != nil || strings.Contains(strings.ToLower(plain), "password") {
			pairs[i] = key + "=" + Hidden
		}
	}
	return scheme + "://" + place + "?" + strings.Join(pairs, "&")
}

// HidePath hides all of a URL except its scheme and host: webhooks have secrets in their paths.
func HidePath(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return Hidden
	}
	if u.User == nil && (u.Path == "" || u.Path == "/") && u.RawQuery == "" {
		return u.Scheme + "://" + u.Host
	}
	return u.Scheme + "://" + u.Host + "/" + Hidden
}
