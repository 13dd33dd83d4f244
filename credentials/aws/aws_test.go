package aws

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"

	"github.com/seed-2b0d76a6/respool"
)

// identity is an AWS identity that never asks AWS.
func identity(expires time.Time) sdk.CredentialsProvider {
	return sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) {
		return sdk.Credentials{
			AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "hush-secret-key", SessionToken: "session",
			CanExpire: !expires.IsZero(), Expires: expires,
		}, nil
	})
}

var noon = time.Date(2025, 6, 1, 12, 0, 0, 0, time.UTC)

func tokensAt(t *testing.T, cfg Config) *Tokens {
	t.Helper()
	tokens, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	tokens.now = func() time.Time { return noon }
	return tokens
}

func TestTokens(t *testing.T) {
	for name, x := range map[string]struct {
		cfg     Config
		host    string
		service string
		kind    string
	}{
		"ElastiCache": {Config{Cache: "Orders", User: "app"}, "orders", "elasticache", ""},
		"Serverless":  {Config{Cache: "orders", User: "app", Serverless: true}, "orders", "elasticache", "ServerlessCache"},
		"MemoryDB":    {Config{Cache: "orders", User: "app", Service: MemoryDB}, "orders", "memorydb", ""},
	} {
		t.Run(name, func(t *testing.T) {
			x.cfg.Credentials, x.cfg.Region = identity(time.Time{}), "eu-central-1"
			got, err := tokensAt(t, x.cfg).Credentials(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			if got.Username != "app" || !got.Expires.Equal(noon.Add(15*time.Minute)) {
				t.Errorf("got %v", got)
			}
			token, err := url.Parse("http://" + got.Password)
			if err != nil {
				t.Fatal(err)
			}
			q := token.Query()
			for key, want := range map[string]string{
				"Action": "connect", "User": "app", "X-Amz-Expires": "900", "ResourceType": x.kind,
				"X-Amz-Algorithm": "AWS4-HMAC-SHA256", "X-Amz-Date": "20250601T120000Z", "X-Amz-SignedHeaders": "host",
				"X-Amz-Credential":     "AKIDEXAMPLE/20250601/eu-central-1/" + x.service + "/aws4_request",
				"X-Amz-Security-Token": "session",
			} {
				if q.Get(key) != want {
					t.Errorf("%s is %q, want %q", key, q.Get(key), want)
				}
			}
			if token.Host != x.host || token.Path != "/" || len(q.Get("X-Amz-Signature")) != 64 {
				t.Errorf("the token is for %s%s, with a signature of %d digits", token.Host, token.Path, len(q.Get("X-Amz-Signature")))
			}
			if strings.Contains(got.Password, "hush") {
				t.Error("the secret key is in the token")
			}
		})
	}
}

// The signature is what the server verifies: it depends on each part, and on nothing else.
func TestSignatures(t *testing.T) {
	sign := func(change func(*Config)) string {
		cfg := Config{Credentials: identity(time.Time{}), Region: "eu-central-1", Cache: "orders", User: "app"}
		change(&cfg)
		c, err := tokensAt(t, cfg).Credentials(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		_, signature, _ := strings.Cut(c.Password, "X-Amz-Signature=")
		return signature
	}
	same := func(*Config) {}
	if first, second := sign(same), sign(same); first != second {
		t.Error("two tokens of the same moment differ")
	}
	for name, change := range map[string]func(*Config){
		"region":  func(c *Config) { c.Region = "us-east-1" },
		"service": func(c *Config) { c.Service = MemoryDB },
		"cache":   func(c *Config) { c.Cache = "others" },
		"user":    func(c *Config) { c.User = "other" },
		"kind":    func(c *Config) { c.Serverless = true },
	} {
		if sign(change) == sign(same) {
			t.Errorf("another %s has the same signature", name)
		}
	}
}

func TestATokenExpiresWithItsIdentity(t *testing.T) {
	cfg := Config{Credentials: identity(noon.Add(5 * time.Minute)), Region: "eu-central-1", Cache: "orders", User: "app"}
	got, err := tokensAt(t, cfg).Credentials(context.Background())
	if err != nil || !got.Expires.Equal(noon.Add(5*time.Minute)) {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestMistakes(t *testing.T) {
	right := Config{Credentials: identity(time.Time{}), Region: "eu-central-1", Cache: "orders", User: "app"}
	for want, change := range map[string]func(*Config){
		"Credentials is nil":       func(c *Config) { c.Credentials = nil },
		"Region is empty":          func(c *Config) { c.Region = "" },
		"Cache is empty":           func(c *Config) { c.Cache = "" },
		"User is empty":            func(c *Config) { c.User = "" },
		`Service is "dynamodb"`:    func(c *Config) { c.Service = "dynamodb" },
		"Serverless with MemoryDB": func(c *Config) { c.Service, c.Serverless = MemoryDB, true },
	} {
		cfg := right
		change(&cfg)
		if _, err := New(cfg); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %q", err, want)
		}
	}
	broken := errors.New("no identity")
	right.Credentials = sdk.CredentialsProviderFunc(func(context.Context) (sdk.Credentials, error) { return sdk.Credentials{}, broken })
	if _, err := tokensAt(t, right).Credentials(context.Background()); !errors.Is(err, broken) {
		t.Errorf("got %v, want the identity's error", err)
	}
}

func Example() {
	var cfg sdk.Config // of config.LoadDefaultConfig
	tokens, err := New(Config{Credentials: cfg.Credentials, Region: cfg.Region, Cache: "orders", User: "app"})
	if err != nil {
		return
	}
	_, _ = respool.New(respool.Options{Addr: "orders.example:6379", Credentials: tokens.Credentials})
}
