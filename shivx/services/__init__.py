"""The only place where the cache and the providers meet: questions of clients, answered from the cache."""

from shivx.services.answer import Answer
from shivx.services.candles import CandleList, CandleService
from shivx.services.features import FeatureService
from shivx.services.indicators import IndicatorService
from shivx.services.market import MarketService
from shivx.services.policies import Policies, register_facts
from shivx.services.predictions import PredictionService

__all__ = [
    "Answer",
    "CandleList",
    "CandleService",
    "FeatureService",
    "IndicatorService",
    "MarketService",
    "Policies",
    "PredictionService",
    "register_facts",
]
