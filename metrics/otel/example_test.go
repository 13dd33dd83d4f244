package respoolotel_test

import (
	"context"
	"fmt"
	"log"

	"github.com/alicebob/miniredis/v2"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/seed-2b0d76a6/respool"
	respoolotel "github.com/seed-2b0d76a6/respool/metrics/otel"
)

// demo is the URL of a server inside the program.
func demo() (url string, end func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	return "redis://" + server.Addr(), server.Close
}

func ExampleRegister() {
	url, end := demo()
	defer end()
	ctx := context.Background()

	opt, err := respool.ParseURL(url + "?max_connections=8")
	if err != nil {
		log.Fatal(err)
	}
	pool := respoolotel.NewPool("orders", &opt)
	client, err := respool.New(opt)
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)
	pool.Watch(client.Stats)

	reader := sdk.NewManualReader() // an exporter's periodic one in a service
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	defer provider.Shutdown(ctx)
	registration, err := respoolotel.Register(provider.Meter("orders"), pool)
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
