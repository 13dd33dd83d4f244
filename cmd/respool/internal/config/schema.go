package config

import (
	"maps"

	"github.com/seed-2b0d76a6/respool/cmd/respool/internal/yamlnode"
)

// Schema is the JSON schema of the configuration of respool serve and respool watch.
func Schema() yamlnode.Schema {
	s := NewServe()
	definitions, settings := map[string]any{}, map[string]any{}
	for key, field := range s.Watch.fields(&s) {
		definitions[key] = field.Schema
		settings[key] = yamlnode.Schema{"$ref": "#/definitions/" + key}
	}
	top := maps.Clone(settings)
	top["profiles"] = yamlnode.Named(yamlnode.Schema{"type": "object", "properties": settings, "additionalProperties": false})
	return yamlnode.Schema{"type": "object", "properties": top, "additionalProperties": false, "definitions": definitions}
}
