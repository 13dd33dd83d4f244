package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/manual"
)

type completionCmd struct {
	Shell string `arg:"" enum:"bash,zsh,fish" help:"Shell: bash, zsh or fish."`
}

func (completionCmd) Help() string {
	return `Prints a script that completes commands and flags in a shell. Packages install it.

Examples:
  respool completion bash
  respool completion zsh
  respool completion fish`
}

func (c *completionCmd) Run(ctx *kong.Context) error {
	fmt.Print(manual.Completion(ctx.Model, c.Shell))
	return nil
}
