package monitoring

import (
	"encoding/json"
	"io"
)

// WriteDashboard writes the dashboard as JSON.
func WriteDashboard(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(newDashboard(dashboardRows()))
}

// dashboard is a dashboard as Grafana reads it.
type dashboard struct {
	UID           string        `json:"uid"`
	Title         string        `json:"title"`
	Description   string        `json:"description"`
	Tags          []string      `json:"tags"`
	SchemaVersion int           `json:"schemaVersion"`
	Version       int           `json:"version"`
	Editable      bool          `json:"editable"`
	Tooltip       int           `json:"graphTooltip"`
	Refresh       string        `json:"refresh"`
	Time          dashboardTime `json:"time"`
	Templating    struct {
		List []dashboardVariable `json:"list"`
	} `json:"templating"`
	Panels []dashboardPanel `json:"panels"`
}

type dashboardTime struct {
	From string `json:"from"`
	To   string `json:"to"`
}

type dashboardVariable struct {
	Name       string      `json:"name"`
	Label      string      `json:"label"`
	Type       string      `json:"type"`
	Query      string      `json:"query"`
	Datasource *datasource `json:"datasource,omitempty"`
	Refresh    int         `json:"refresh,omitempty"`
	Multi      bool        `json:"multi,omitempty"`
	IncludeAll bool        `json:"includeAll,omitempty"`
	AllValue   string      `json:"allValue,omitempty"`
	Sort       int         `json:"sort,omitempty"`
}

// dashboardRow is a heading and its charts.
type dashboardRow struct {
	title  string
	charts []chart
}

const (
	panelHeight    = 8
	dashboardWidth = 24
)

func newDashboard(rows []dashboardRow) *dashboard {
	d := &dashboard{
		UID: "respool-connections", Title: "Redis connections", Description: "Occupancy of Redis servers, holders of their connections, and waits in pools.",
		Tags: []string{"redis", "respool"}, SchemaVersion: 39, Version: 1, Editable: true, Tooltip: 1, Refresh: "30s", Time: dashboardTime{"now-6h", "now"},
	}
	d.Templating.List = []dashboardVariable{
		{Name: "datasource", Label: "Data source", Type: "datasource", Query: "prometheus"},
		valuesVariable("node", "Server", "label_values(respool_server_up, node)"),
		valuesVariable("pool", "Pool", `label_values(db_client_connection_timeouts_total{db_system_name="redis"}, db_client_connection_pool_name)`),
	}
	x, y := 0, 0
	add := func(p dashboardPanel, height, width int) {
		if x+width > dashboardWidth {
			x, y = 0, y+panelHeight
		}
		p.ID, p.Place = len(d.Panels)+1, panelPlace{height, width, x, y}
		d.Panels = append(d.Panels, p)
		x += width
	}
	for _, row := range rows {
		add(dashboardPanel{Type: "row", Title: row.title}, 1, dashboardWidth)
		x, y = 0, y+1
		for i := range row.charts {
			add(row.charts[i].panel(), panelHeight, row.charts[i].width)
		}
		x, y = 0, y+panelHeight
	}
	return d
}

func valuesVariable(name, label, query string) dashboardVariable {
	return dashboardVariable{Name: name, Label: label, Type: "query", Query: query, Datasource: selectedSource(), Refresh: 2, Multi: true, IncludeAll: true, AllValue: ".*", Sort: 1}
}
