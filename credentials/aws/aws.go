// Package aws makes credentials for ElastiCache and MemoryDB from an AWS identity (IAM). They are tokens that
// are signed here, without a request to AWS, and that are valid for 15 minutes. A client renews
// them on its standing connections, which AWS closes 12 hours after the last one otherwise.
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

// Service is the AWS service that a token is for.
type Service string

// The services.
const (
	ElastiCache Service = "elasticache"
	MemoryDB    Service = "memorydb"
)

// life is how long AWS takes a token.
const life = 15 * time.Minute

// Config of a source of tokens.
type Config struct {
	// Credentials are the AWS identity's, such as aws.Config.Credentials of the SDK. There is no default.
	Credentials sdk.CredentialsProvider
	// Region is that of the cache, such as eu-central-1. There is no default.
	Region string
	// Service is ElastiCache or MemoryDB. Default: ElastiCache.
	Service Service
	// Cache is the id of the replication group, the name of the serverless cache, or that of the
	// MemoryDB cluster. There is no default. Letters are turned into lower case, as AWS has them.
	Cache string
	// User is the id of an ElastiCache user with IAM authentication, whose name has to be the same, or the name
	// of a MemoryDB user. There is no default.
	User string
	// Serverless says that Cache is a serverless one. Default: false.
	Serverless bool
}

// Tokens is a source of tokens. It is safe for concurrent use.
type Tokens struct {
	cfg    Config
	signer *v4.Signer
	now    func() time.Time
}

// New checks the configuration. It sends nothing.
func New(cfg Config) (*Tokens, error) {
	if cfg.Service == "" {
		cfg.Service = ElastiCache
	}
	cfg.Cache = strings.ToLower(cfg.Cache)
	switch {
	case cfg.Credentials == nil:
		return nil, errors.New("aws: Credentials is nil: want those of an AWS identity, such as aws.Config.Credentials")
	case cfg.Region == "":
		return nil, errors.New("aws: Region is empty: want the region of the cache, such as eu-central-1")
	case cfg.Service != ElastiCache && cfg.Service != MemoryDB:
		return nil, fmt.Errorf("aws: Service is %q: want %q or %q", cfg.Service, ElastiCache, MemoryDB)
	case cfg.Cache == "":
		return nil, errors.New("aws: Cache is empty: want the id of the replication group, or the name of the cache or cluster")
	case cfg.User == "":
		return nil, errors.New("aws: User is empty: want the name of the user with IAM authentication")
	case cfg.Serverless && cfg.Service == MemoryDB:
		return nil, errors.New("aws: Serverless with MemoryDB: want it with ElastiCache alone")
	}
	return &Tokens{cfg: cfg, signer: v4.NewSigner(), now: time.Now}, nil
}

// Credentials signs a token. It is for respool.Options.Credentials. It blocks as long as the AWS identity's own
// credentials take, bounded by ctx. The token expires with these if they end before it.
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
		return respool.Credentials{}, fmt.Errorf("aws: Cache is %q: want a name: %w", t.cfg.Cache, err)
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
