package respoolprom_test

import (
	"bufio"
	"context"
	"fmt"
	"log"
	"net/http/httptest"
	"strings"

	"github.com/alicebob/miniredis/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/seed-2b0d76a6/respool"
	respoolprom "github.com/seed-2b0d76a6/respool/metrics/prometheus"
	"github.com/seed-2b0d76a6/respool/monitor"
)

// demo is the URL of a server inside the program.
func demo() (url string, end func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	return "redis://" + server.Addr(), server.Close
}

func ExampleNewPool() {
	url, end := demo()
	defer end()
	ctx := context.Background()

	opt, err := respool.ParseURL(url + "?max_connections=8")
	if err != nil {
		log.Fatal(err)
	}
	pool := respoolprom.NewPool("orders", &opt) // before the client: it takes part in its events
	client, err := respool.New(opt)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	pool.Watch(client.Stats)
	registry := prometheus.NewRegistry()
	registry.MustRegister(pool)
	handler := promhttp.HandlerFor(registry, promhttp.HandlerOpts{}) // to be served at /metrics

	if err := client.Do(ctx, "SET", "k", "v").Err(); err != nil {
		log.Fatal(err)
	}
	page := httptest.NewRecorder()
	handler.ServeHTTP(page, httptest.NewRequest("GET", "/metrics", nil))
	for lines := bufio.NewScanner(page.Body); lines.Scan(); {
		if name, _, _ := strings.Cut(lines.Text(), "{"); name == "db_client_connection_max" || name == "respool_pool_dials_total" {
			fmt.Println(name, lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:])
		}
	}
	// Output:
	// db_client_connection_max 8
	// respool_pool_dials_total 1
}

func ExampleNewServers() {
	url, end := demo()
	defer end()
	opt, err := respool.ParseURL(url)
	if err != nil {
		log.Fatal(err)
	}
	sampler, err := monitor.NewSampler(monitor.SamplerConfig{Options: opt})
	if err != nil {
		log.Fatal(err)
	}
	// sampler.Run(ctx) looks until ctx ends.

	registry := prometheus.NewRegistry()
	registry.MustRegister(respoolprom.NewServers(sampler.State, nil, respoolprom.DefaultTop))
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(families[len(families)-1].GetName())
	// Output: respool_monitor_nodes
}
