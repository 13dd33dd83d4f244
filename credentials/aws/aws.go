// Package aws creates credentials for ElastiCache and MemoryDB from an AWS identity (IAM). They are
// tokens that the package signs itself, without a request to AWS. A token is valid for 15 minutes.
// AWS closes a connection 12 hours after its last token, so the client authenticates its open
// connections with new ones before that.
//
//	cfg, err := config.LoadDefaultConfig(ctx)
//	...
//	tokens, err := aws.New(aws.Config{
//		Credentials: cfg.Credentials, Region: cfg.Region, Service: aws.ElastiCache, Cache: "orders", User: "app",
//	})
//	...
//	client, err := respool.New(respool.Options{
//		Addr: "orders.abc.cache.amazonaws.com:6379", TLS: &tls.Config{}, Credentials: tokens.Credentials,
//	})
//
// The package starts no goroutines.
package aws

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"

	"github.com/seed-2b0d76a6/respool"
)

// Service is the AWS service of a token.
type Service string

// The services.
const (
	ElastiCache Service = "elasticache"
	MemoryDB    Service = "memorydb"
)

// life is the lifetime of a token.
const life = 15 * time.Minute

// Config configures a source of tokens.
type Config struct {
	// Credentials returns the AWS identity, such as aws.Config.Credentials of the SDK. Required.
	Credentials sdk.CredentialsProvider
	// Region is the region of the cache, such as eu-central-1. Required.
	Region string
	// Service is ElastiCache or MemoryDB. Default: ElastiCache.
	Service Service
	// Cache is the id of the replication group, or the name of the serverless cache or of the
	// MemoryDB cluster. Required. It becomes lower case, as AWS requires.
	Cache string
	// User is the id of an ElastiCache user with IAM authentication, whose name must be the same,
	// or the name of a MemoryDB user. Required.
	User string
	// Serverless states that Cache is a serverless cache. ElastiCache only. Default: false.
	Serverless bool
}

// Tokens is a source of tokens. It is safe for concurrent use.
type Tokens struct {
	cfg    Config
	signer *v4.Signer
	now    func() time.Time
}

// New validates the configuration. It sends nothing.
func New(cfg Config) (*Tokens, error) {
	if cfg.Service == "" {
		cfg.Service = ElastiCache
	}
	cfg.Cache = strings.ToLower(cfg.Cache)
	switch {
	case cfg.Credentials == nil:
		return nil, errors.New("aws: Credentials is nil: want the credentials of an AWS identity, such as aws.Config.Credentials")
	case cfg.Region == "":
		return nil, errors.New("aws: Region is empty: want the region of the cache, such as eu-central-1")
	case cfg.Service != ElastiCache && cfg.Service != MemoryDB:
		return nil, fmt.Errorf("aws: Service is %q: want %q or %q", cfg.Service, ElastiCache, MemoryDB)
	case cfg.Cache == "":
		return nil, errors.New("aws: Cache is empty: want the id of the replication group, or the name of the cache or cluster")
	case cfg.User == "":
		return nil, errors.New("aws: User is empty: want the name of the user with IAM authentication")
	case cfg.Serverless && cfg.Service == MemoryDB:
		return nil, errors.New("aws: Serverless with MemoryDB: want it with ElastiCache only")
	}
	return &Tokens{cfg: cfg, signer: v4.NewSigner(), now: time.Now}, nil
}

// Credentials returns a new token, for respool.Options.Credentials. It blocks only while the AWS
// identity returns its credentials; ctx limits that. The token expires after 15 minutes, or with
// those credentials if they expire earlier. Concurrent use is safe.
func (t *Tokens) Credentials(ctx context.Context) (respool.Credentials, error) {
	identity, err := t.cfg.Credentials.Retrieve(ctx)
	if err != nil {
		return respool.Credentials{}, fmt.Errorf("aws: get credentials of the AWS identity: %w", err)
	}
	query := url.Values{"Action": {"connect"}, "User": {t.cfg.User}, "X-Amz-Expires": {strconv.Itoa(int(life.Seconds()))}}
	if t.cfg.Serverless {
		query.Set("ResourceType", "ServerlessCache")
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+t.cfg.Cache+"/?"+query.Encode(), nil)
	if err != nil {
		return respool.Credentials{}, fmt.Errorf("aws: Cache is %q, which is not a host name: %w", t.cfg.Cache, err)
	}
	now := t.now()
	empty := sha256.Sum256(nil)
	signed, _, err := t.signer.PresignHTTP(ctx, identity, request, hex.EncodeToString(empty[:]), string(t.cfg.Service), t.cfg.Region, now)
	if err != nil {
		return respool.Credentials{}, fmt.Errorf("aws: sign a token: %w", err)
	}
	expires := now.Add(life)
	if identity.CanExpire && identity.Expires.Before(expires) {
		expires = identity.Expires
	}
	return respool.Credentials{Username: t.cfg.User, Password: strings.TrimPrefix(signed, "http://"), Expires: expires}, nil
}
