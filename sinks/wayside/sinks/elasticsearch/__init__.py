"""Records in Elasticsearch: the same documents as the embedded store's, one a row, in daily indices for Kibana."""
