module github.com/seed-2b0d76a6/respool/test/clients

go 1.26.0

require (
	github.com/redis/go-redis/v9 v9.23.0
	github.com/redis/rueidis v1.0.79
	github.com/seed-2b0d76a6/respool v0.1.0
)

require (
	github.com/cespare/xxhash/v2 v2.3.0 // indirect
	github.com/seed-2b0d76a6/respool/goredis v0.1.0
	go.uber.org/atomic v1.12.0 // indirect
	golang.org/x/sys v0.49.0 // indirect
)

replace github.com/seed-2b0d76a6/respool => ../..

replace github.com/seed-2b0d76a6/respool/goredis => ../../goredis
