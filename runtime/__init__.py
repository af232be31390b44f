"""What any process needs: the broker and its adapters, the worker loop, dead letters, settings, logs, metrics, clock.

No word of forecasting stands here.
"""
