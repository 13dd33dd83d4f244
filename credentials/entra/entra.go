// Package entra makes credentials for Azure Cache for Redis and Azure Managed Redis from Microsoft Entra ID
// tokens. A client sends new ones on its standing connections before the old ones expire: Azure closes
// connections whose token has.
//
//	identity, err := azidentity.NewDefaultAzureCredential(nil)
//	...
//	tokens, err := entra.New(entra.Config{Credential: identity})
//	...
//	client, err := respool.New(respool.Options{
//		Addr: "orders.redis.cache.windows.net:6380", TLS: &tls.Config{}, Credentials: tokens.Credentials,
//	})
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

// DefaultScope is that of Redis in Azure.
const DefaultScope = "https://redis.azure.com/.default"

// early is how long before its end a token counts as expired: Azure wants the next one three minutes
// before.
const early = 3 * time.Minute

// Config of a source of tokens.
type Config struct {
	// Credential gives the tokens: one of package azidentity, which caches them. There is no default.
	Credential azcore.TokenCredential
	// User is the object id of the managed identity or service principal, as the cache has it
	// among its users. Default: what the token says (its claim oid).
	User string
	// Scope is what the token is for. Default: DefaultScope.
	Scope string
}

// Tokens is a source of tokens. It is safe for concurrent use.
type Tokens struct{ cfg Config }

// New checks the configuration. It sends nothing.
func New(cfg Config) (*Tokens, error) {
	if cfg.Credential == nil {
		return nil, errors.New("entra: Credential is nil: want one of package azidentity")
	}
	if cfg.Scope == "" {
		cfg.Scope = DefaultScope
	}
	return &Tokens{cfg}, nil
}

// Credentials gets a token. It is for respool.Options.Credentials. It blocks as long as the credential does,
// bounded by ctx. Expires is three minutes before the token's end.
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

var errNoObjectID = errors.New("entra: the token names no object id (oid): want Config.User to be that of the identity")

// objectID reads who a token is for. It does not verify it: that is the server's.
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
