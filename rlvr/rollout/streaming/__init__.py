"""Rollouts as a flow: which samples run on which engine, and which groups make up a batch. Pure: no Ray, no clock."""
