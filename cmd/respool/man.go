package main

import (
	"fmt"

	"github.com/alecthomas/kong"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/manual"
)

type manCmd struct{}

func (manCmd) Help() string {
	return `Prints the manual page in the format of man. Packages install it.

Examples:
  respool man`
}

func (manCmd) Run(ctx *kong.Context) error {
	fmt.Print(manual.Page(ctx.Model, respool.Version))
	return nil
}
