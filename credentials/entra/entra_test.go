package entra

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"

	"github.com/seed-2b0d76a6/respool"
)

// jwt is a token with these claims, and no signature that anybody verifies.
func jwt(claims string) string {
	part := base64.RawURLEncoding.EncodeToString
	return part([]byte(`{"alg":"none"}`)) + "." + part([]byte(claims)) + "." + part([]byte("signature"))
}

type fixed struct {
	token azcore.AccessToken
	err   error
	scope string
}

func (f *fixed) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	f.scope = strings.Join(o.Scopes, " ")
	return f.token, f.err
}

func TestTokens(t *testing.T) {
	end := time.Date(2031, 1, 2, 3, 4, 5, 0, time.UTC)
	for name, x := range map[string]struct {
		cfg         Config
		token       string
		user, scope string
	}{
		"the token's identity": {Config{}, jwt(`{"oid":"object-1"}`), "object-1", DefaultScope},
		"a given user":         {Config{User: "object-2", Scope: "scope"}, "opaque", "object-2", "scope"},
	} {
		t.Run(name, func(t *testing.T) {
			f := &fixed{token: azcore.AccessToken{Token: x.token, ExpiresOn: end}}
			x.cfg.Credential = f
			tokens, err := New(x.cfg)
			if err != nil {
				t.Fatal(err)
			}
			got, err := tokens.Credentials(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got.Username != x.user || got.Password != x.token || !got.Expires.Equal(end.Add(-3*time.Minute)) || f.scope != x.scope {
				t.Errorf("got %v for %s", got, f.scope)
			}
		})
	}
}

func TestMistakes(t *testing.T) {
	if _, err := New(Config{}); err == nil || !strings.Contains(err.Error(), "Credential is nil") {
		t.Errorf("got %v", err)
	}
	broken := errors.New("no identity")
	for _, f := range []*fixed{
		{err: broken},
		{token: azcore.AccessToken{Token: "hush-opaque"}},
		{token: azcore.AccessToken{Token: "hush.!.x"}},
		{token: azcore.AccessToken{Token: jwt(`{"sub":"hush"}`)}},
		{token: azcore.AccessToken{Token: jwt(`hush`)}},
	} {
		tokens, _ := New(Config{Credential: f})
		_, err := tokens.Credentials(context.Background())
		want := errNoObjectID
		if f.err != nil {
			want = broken
		}
		if !errors.Is(err, want) || strings.Contains(err.Error(), "hush") {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// login is Microsoft's service, in memory.
type login struct{ asked atomic.Int64 }

func (l *login) Do(r *http.Request) (*http.Response, error) {
	const authority = "https://login.microsoftonline.com/tenant"
	body := fmt.Sprintf(`{"issuer": %q, "authorization_endpoint": %q, "token_endpoint": %q}`,
		authority+"/v2.0", authority+"/oauth2/v2.0/authorize", authority+"/oauth2/v2.0/token")
	if strings.HasSuffix(r.URL.Path, "/token") {
		l.asked.Add(1)
		body = fmt.Sprintf(`{"token_type": "Bearer", "expires_in": 3600, "access_token": %q}`, jwt(`{"oid":"object-3"}`))
	}
	return &http.Response{StatusCode: http.StatusOK, Status: "200 OK", Request: r, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(body))}, nil
}

// A credential of azidentity keeps its token for further dials.
func TestWithAzidentity(t *testing.T) {
	service := &login{}
	credential, err := azidentity.NewClientSecretCredential("tenant", "client", "hush", &azidentity.ClientSecretCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: service}, DisableInstanceDiscovery: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	tokens, err := New(Config{Credential: credential})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		got, err := tokens.Credentials(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		if left := time.Until(got.Expires); got.Username != "object-3" || left < 50*time.Minute || left > 57*time.Minute {
			t.Errorf("got %v", got)
		}
	}
	if n := service.asked.Load(); n != 1 {
		t.Errorf("%d tokens were asked for, want 1", n)
	}
}

func Example() {
	identity, err := azidentity.NewDefaultAzureCredential(nil)
	if err != nil {
		return
	}
	tokens, err := New(Config{Credential: identity})
	if err != nil {
		return
	}
	_, _ = respool.New(respool.Options{Addr: "orders.example:6380", Credentials: tokens.Credentials})
}
