package metrics_test

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
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/metrics"
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
	pool := metrics.NewPool("orders", &opt) // before the client: it takes part in its events
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

func ExampleRegisterOTel() {
	url, end := demo()
	defer end()
	ctx := context.Background()

	opt, err := respool.ParseURL(url + "?max_connections=8")
	if err != nil {
		log.Fatal(err)
	}
	pool := metrics.NewPool("orders", &opt)
	client, err := respool.New(opt)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	pool.Watch(client.Stats)

	reader := sdk.NewManualReader() // an exporter's periodic one in a service
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	defer provider.Shutdown(ctx)
	registration, err := metrics.RegisterOTel(provider.Meter("orders"), pool)
	if err != nil {
		log.Fatal(err)
	}
	defer registration.Unregister()

	var read metricdata.ResourceMetrics
	if err := reader.Collect(ctx, &read); err != nil {
		log.Fatal(err)
	}
	for _, m := range read.ScopeMetrics[0].Metrics {
		if sum, ok := m.Data.(metricdata.Sum[int64]); ok && m.Name == "db.client.connection.max" {
			fmt.Println(m.Name, sum.DataPoints[0].Value, m.Unit)
		}
	}
	// Output: db.client.connection.max 8 {connection}
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
	registry.MustRegister(metrics.NewServers(sampler.State, nil, metrics.DefaultTop))
	families, err := registry.Gather()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(families[len(families)-1].GetName())
	// Output: respool_monitor_nodes
}
