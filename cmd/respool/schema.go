package main

import (
	"encoding/json"
	"os"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/config"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/planfile"
	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

//go:generate sh -c "go run . schema config >../../docs/schema/config.json"
//go:generate sh -c "go run . schema plan >../../docs/schema/plan.json"

type schemaCmd struct {
	File string `arg:"" enum:"config,plan" default:"config" help:"Kind of file: config (serve and watch) or plan (check). Default: config."`
}

func (schemaCmd) Help() string {
	return `Prints the JSON schema of a configuration or of a plan file, so that editors complete and check
these files. It accepts all files that respool accepts. respool serve --check, respool watch --check and
respool check also check the values against each other.

Examples:
  respool schema
  respool schema plan`
}

func (c *schemaCmd) Run() error {
	s := schemas()[c.File]
	s["$schema"] = "http://json-schema.org/draft-07/schema#"
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", " ")
	return out.Encode(s)
}

// schemas are the schemas by the kind of file.
func schemas() map[string]yamlnode.Schema {
	config, plan := config.Schema(), planfile.Schema()
	config["title"], plan["title"] = "Configuration of respool serve and respool watch", "Plan file of respool check"
	return map[string]yamlnode.Schema{"config": config, "plan": plan}
}
