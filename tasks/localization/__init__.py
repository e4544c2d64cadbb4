"""Temporal action localization: S-CNN on THUMOS'14 (Shou, Wang and Chang, CVPR 2016; Tran et al. 2017, section 5.3)."""
