"""The study of finished runs: token tables, cross-sampling, interventions, sweeps. Figures: `rlvr.reporting`."""
