"""How few numbers a feature needs: accuracy after PCA (Res3D paper, section 5.1, figure 3)."""
