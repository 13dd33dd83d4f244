// Package entra creates credentials for Azure Cache for Redis and Azure Managed Redis from
// Microsoft Entra ID tokens. Azure closes a connection when its token expires, so the client
// authenticates its open connections with new tokens before that.
//
//	identity, err := azidentity.NewDefaultAzureCredential(nil)
//	...
//	tokens, err := entra.New(entra.Config{Credential: identity})
//	...
//	client, err := respool.New(respool.Options{
//		Addr: "orders.redis.cache.windows.net:6380", TLS: &tls.Config{}, Credentials: tokens.Credentials,
//	})
//
// The package starts no goroutines.
package entra

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/seed-2b0d76a6/respool"
)

// DefaultScope is the scope of Redis in Azure.
const DefaultScope = "https://redis.azure.com/.default"

// early is the time before its expiry from which a token counts as expired. Azure requires the next
// token three minutes before.
const early = 3 * time.Minute

// Config configures a source of tokens.
type Config struct {
	// Credential returns the tokens, such as one of package azidentity, which caches them.
	// Required.
	Credential azcore.TokenCredential
	// User is the object id of the managed identity or service principal, as in the users of the
	// cache. Default: the claim oid of the token.
	User string
	// Scope is the scope of the token. Default: DefaultScope.
	Scope string
}

// Tokens is a source of tokens. It is safe for concurrent use.
type Tokens struct{ cfg Config }

// New validates the configuration. It sends nothing.
func New(cfg Config) (*Tokens, error) {
	if cfg.Credential == nil {
		return nil, errors.New("entra: Credential is nil: want a credential of package azidentity")
	}
	if cfg.Scope == "" {
		cfg.Scope = DefaultScope
	}
	return &Tokens{cfg}, nil
}

// Credentials returns a token, for respool.Options.Credentials. It blocks while the credential
// returns one; ctx limits that. Expires is three minutes before the token's expiry. Concurrent use
// is safe.
func (t *Tokens) Credentials(ctx context.Context) (respool.Credentials, error) {
	token, err := t.cfg.Credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{t.cfg.Scope}})
	if err != nil {
		return respool.Credentials{}, fmt.Errorf("entra: get a token: %w", err)
	}
	user := t.cfg.User
	if user == "" {
		if user, err = objectID(token.Token); err != nil {
			return respool.Credentials{}, err
		}
	}
	expires := token.ExpiresOn
	if !expires.IsZero() {
		expires = expires.Add(-early)
	}
	return respool.Credentials{Username: user, Password: token.Token, Expires: expires}, nil
}

var errNoObjectID = errors.New("entra: the token has no object id (oid): set Config.User to the object id of the identity")

// objectID returns the claim oid of a token. It does not verify the token; the server does.
func objectID(token string) (string, error) {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return "", errNoObjectID
	}
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return "", errNoObjectID
	}
	var claims struct {
		ObjectID string `json:"oid"`
	}
	if json.Unmarshal(raw, &claims) != nil || claims.ObjectID == "" {
		return "", errNoObjectID
	}
	return claims.ObjectID, nil
}
