module github.com/seed-2b0d76a6/respool/goredis

go 1.26.0

require github.com/seed-2b0d76a6/respool v0.1.0

replace github.com/seed-2b0d76a6/respool => ..

require go.uber.org/goleak v1.3.0

require (
	go.yaml.in/yaml/v3 v3.0.5 // indirect
	golang.org/x/sys v0.49.0 // indirect
)
