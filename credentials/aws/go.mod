module github.com/seed-2b0d76a6/respool/credentials/aws

go 1.26.0

replace github.com/seed-2b0d76a6/respool => ../..

require (
	github.com/aws/aws-sdk-go-v2 v1.48.0
	github.com/seed-2b0d76a6/respool v0.1.0
)

require github.com/aws/smithy-go v1.28.9 // indirect
