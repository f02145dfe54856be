"""The real lanes on a model of Kafka: seeded plans of crashes, rebalances, lags and clocks."""
